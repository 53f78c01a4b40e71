"""Runs a command that cannot outlive its limit, whatever it hangs in; standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

GRACE = 4.0
"""Seconds between SIGINT, on which Python writes what it has, and SIGKILL, which also ends a hang in a C call."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Its exit code; minus a signal's number where a signal ended it; 127 where it could not be started."""
    seconds: float
    late: bool
    """Whether its limit ended it."""

    def describe(self) -> str:
        """In a few words."""
        if self.late:
            return f"ended at its limit after {self.seconds:.0f} s"
        return f"exit {self.code} after {self.seconds:.0f} s"


_LAUNCH = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    print(f"{sys.argv[1]}: {error}", file=sys.stderr, flush=True)
    os._exit(127)
"""
"""Becomes the command, with SIGINT taken again: a driver started in the background ignores it, and Python keeps to
that. As preexec_fn it would run Python in a forked copy of this process, which hangs when a thread that is not there
any more is waited for (gloo's, when a copy gives up its process group)."""


def run(
    command: Sequence[str | Path],
    limit: float,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    grace: float = GRACE,
    nested: bool = False,
) -> Ended:
    """Run ``command`` in a session of its own, its output appended to ``log`` (None: this process's).

    At ``limit`` seconds the command and all processes it has started get SIGINT, and ``grace`` seconds later SIGKILL.
    Whatever is left of its session is killed at its end, too: nothing is to disturb the next command's times.

    Args:
        nested: this process was started by :func:`run` itself: the command stays in its session, so that one signal
            reaches both, and is ended alone.
    """
    end = _to_one if nested else _to_group
    started = time.monotonic()
    with contextlib.ExitStack() as files:
        output = None if log is None else files.enter_context(log.open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=not nested,
        )
        late = False
        try:
            process.wait(max(limit, 0.1))
        except subprocess.TimeoutExpired:
            late = True
            end(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(grace, 0.1))
        finally:
            if not nested or process.poll() is None:
                end(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)  # a process that the kernel holds is left behind
    return Ended(process.returncode if process.returncode is not None else -9, time.monotonic() - started, late)


def end_with_me() -> None:
    """SIGTERM ends this process as SIGINT does: what it has started is ended first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _to_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _to_one(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)
