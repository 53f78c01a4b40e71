"""From arguments to an exit code: finds the command, runs it, and turns mistakes of the user into one line."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from m2t_fast._version import __version__
from m2t_fast.cli.options import path
from m2t_fast.cli.visible import discard, open_closed_streams, shortened, visible_output
from m2t_fast.errors import JobError, ReportedElsewhere, UserError
from m2t_fast.visible import visible

PROGRAM = "m2t-fast"
COMMANDS = (
    "train",
    "evaluate",
    "caption",
    "interpret",
    "validate",
    "bench",
    "convert",
    "info",
    "demo",
    "sweep",
    "prepare",
    "score",
    "fit-segments",
    "calibrate",
    "export",
)
"""Each is a module of this package whose ``add_parser(subparsers)`` declares it and its ``run(args) -> exit code``."""

JOB_ENDED, FAILED, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141


class _Terminated(BaseException):
    """A signal asks the process to end; it ends as if interrupted, so that nothing half-written stays."""


_OUT_OF_MEMORY = re.compile("OutOfMemoryError|can't allocate memory")
"""What torch raises: an exception of its own on a GPU, a RuntimeError that says so on the CPU."""


class _Parser(argparse.ArgumentParser):
    """Reports a mistake like any other, in one line, instead of printing the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)  # a new option must not change what an old command means
        self.register("type", Path, path)

    def error(self, message: str) -> NoReturn:
        left = message.removeprefix("unrecognized arguments: ").split()
        if left != message.split() and all(word.replace(".", "", 1).isdigit() for word in left):
            message += "; several numbers for one option are joined by commas, as in --beam-size 1,2"
        raise UserError(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Importing torch is left to the commands, so that --help answers at once."""
    parser = _Parser(prog=PROGRAM, description="Interpretable captions of human motion: train, caption, look inside.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"m2t_fast.cli.{name.replace('-', '_')}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; None: the process's own.

    Returns:
        what the command returns, 0 when all is well; 2 with one line on stderr when the user made a mistake
        (:class:`UserError`, a file that the system does not let through, or too little memory); 130 when interrupted,
        143 when terminated; 141 when nobody reads the output any more; 1 when another process of the same job has
        ended. Any other exception is a bug and is not caught.
    """
    open_closed_streams()
    try:
        with _ending_tidily(), warnings.catch_warnings(), visible_output():
            warnings.showwarning = _show_warning
            if any("\0" in text for text in argv or ()):
                raise UserError("a null byte in an argument, expected text")
            _require_current_folder()
            args = build_parser().parse_args(argv)
            code: int = args.run(args)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse after --help and --version
        return int(stop.code or 0)
    except KeyboardInterrupt:
        _say(f"\n{PROGRAM}: interrupted")
        return INTERRUPTED
    except _Terminated as ended:
        _say(f"{PROGRAM}: terminated")
        return 128 + int(ended.args[0])
    except BrokenPipeError:
        discard(sys.stdout)
        return BROKEN_PIPE
    except ReportedElsewhere:
        return FAILED
    except UserError as error:
        return _fail(str(error))
    except JobError as error:
        _fail(str(error))
        return JOB_ENDED
    except OSError as error:
        _flush_or_discard()
        name = "" if error.filename is None else f"{error.filename}: "
        return _fail(f"{name}{error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(f"{type(error).__name__} {error}")):
            raise
        return _fail("out of memory; a smaller --batch-size or --beam-size needs less")


def _require_current_folder() -> None:
    """Refuse a current folder that is gone: libraries that ask for it end the process with messages of their own."""
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"the current folder cannot be found: {error.strerror or error}") from None


@contextmanager
def _ending_tidily() -> Iterator[None]:
    """SIGTERM and SIGHUP raise inside the block where they would end the process at once and leave temporary files."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> NoReturn:
        raise _Terminated(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _fail(message: str) -> int:
    _say(f"{PROGRAM}: error: {shortened(visible(' '.join(message.split())))}")
    return FAILED


def _say(text: str) -> None:
    """A line on stderr, where anybody reads it: the exit code says the same."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def _flush_or_discard() -> None:
    """What is left for stdout is written now or never, for it may be stdout that failed."""
    try:
        sys.stdout.flush()
    except OSError:
        discard(sys.stdout)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    print(f"{PROGRAM}: {category.__name__ if category is not UserWarning else 'note'}: {message}", file=sys.stderr)
