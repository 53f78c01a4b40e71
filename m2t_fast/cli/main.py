"""From arguments to an exit code: finds the command, runs it, and turns mistakes of the user into one line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from m2t_fast._version import __version__
from m2t_fast.errors import JobError, ReportedElsewhere, UserError

PROGRAM = "m2t-fast"
COMMANDS: tuple[str, ...] = (
    "train",
    "evaluate",
    "caption",
    "interpret",
    "validate",
    "convert",
    "info",
    "demo",
    "sweep",
)
"""Each is a module of this package whose ``add_parser(subparsers)`` declares it and its ``run(args) -> exit code``."""

JOB_ENDED, FAILED, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141


class _Parser(argparse.ArgumentParser):
    """Reports a mistake as every other one is reported, in one line, instead of printing the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)  # a new option must not change what an old command means

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Importing torch is left to the commands, so that --help answers at once."""
    parser = _Parser(prog=PROGRAM, description="Interpretable captions of human motion: train, caption, look inside.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"m2t_fast.cli.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; None: the process's own.

    Returns:
        what the command returns, 0 when all is well; 2 with one line on stderr when the user made a mistake
        (:class:`UserError`, or a file that the system does not let through); 130 when interrupted; 141 when nobody
        reads the output any more; 1 when another process of the same job has ended. Any other
        exception is a bug and is not caught.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            args = build_parser().parse_args(argv)
            code: int = args.run(args)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse after --help and --version
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; without this it would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except ReportedElsewhere:
        return FAILED
    except UserError as error:
        return _fail(str(error))
    except JobError as error:
        _fail(str(error))
        return JOB_ENDED
    except OSError as error:
        name = "" if error.filename is None else f"{error.filename}: "
        return _fail(f"{name}{error.strerror or error}")


def _fail(message: str) -> int:
    print(f"{PROGRAM}: error: {' '.join(message.split())}", file=sys.stderr)
    return FAILED


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    print(f"{PROGRAM}: {category.__name__ if category is not UserWarning else 'note'}: {message}", file=sys.stderr)
