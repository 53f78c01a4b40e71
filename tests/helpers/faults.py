"""Commands on a system that fails: a disk that is full from the n-th change on, a kill in the middle of one, a process
that halts before it while others go on, a clock that is wrong.

A server process imports the package once, with ``faults.c`` preloaded, and forks a process per command.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(__file__).with_suffix(".c")


CLOCKS: dict[str, Callable[[], tuple[int, int, int]]] = {
    "to and fro": lambda: (10**7, 0, 1),
    "in 1970": lambda: (86_400 - int(time.time()), 0, 0),
    "in 2110": lambda: (4_418_000_000 - int(time.time()), 0, 0),
    "backwards": lambda: (0, -3600, 0),
}
"""Wrong clocks: seconds ahead, what is added with every look at it, and whether the sign changes."""


FAULTS = ("full disk", "kill", "halt")
"""What can happen at a change, in the order in which ``faults.c`` numbers them."""


class Ended(NamedTuple):
    """How a command ended: exit code (negative: the signal), what it said on stderr, and its changes of files."""

    code: int
    said: str
    changes: int


class Server:
    """The process that forks; a context manager. ``build`` holds the compiled library."""

    def __init__(self, build: Path):
        library = build / "faults.so"
        compiler = os.environ.get("CC", "cc").split()[-1]
        command = [
            compiler,
            "-O1",
            "-shared",
            "-fPIC",
            "-D_LARGEFILE64_SOURCE",
            "-o",
            str(library),
            str(SOURCE),
            "-ldl",
        ]
        subprocess.run(command, check=True, capture_output=True)
        self.said = build / "said"
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(library)],
            env={**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def begin(self, world: Path, argv: list[str], at: int = 0, fault: str = FAULTS[0], clock: str = "") -> None:
        """Starts a command in the folder ``world``; ``at``: the change at which one of :data:`FAULTS` happens, 0 for
        none; ``clock``: one of :data:`CLOCKS`."""
        what = FAULTS.index(fault)
        order = {"world": str(world), "argv": argv, "at": at, "fault": what, "clock": clock, "said": str(self.said)}
        self._send(order)

    def end(self) -> Ended | None:
        """Waits until the command started first ends, or halts (None): :meth:`go_on` and this again for its end."""
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline())
        return answer and Ended(*answer)

    def go_on(self) -> None:
        """Wakes the command that halts."""
        self._send({})

    def _send(self, order: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)

    def run(self, world: Path, argv: list[str], at: int = 0, fault: str = FAULTS[0], clock: str = "") -> Ended:
        """Runs a command to its end."""
        self.begin(world, argv, at, fault, clock)
        ended = self.end()
        assert ended is not None, "it halts"
        return ended


def _command(order: dict[str, Any], library: ctypes.CDLL, changes: int) -> int:
    """In the forked process."""
    from m2t_fast.cli import main

    os.chdir(order["world"])
    if order["clock"]:
        library.faults_clock(*(ctypes.c_long(value) for value in CLOCKS[order["clock"]]()))
    library.faults_arm(order["world"].encode(), order["at"], order["fault"])
    try:
        if order["argv"][0] == "sweep":
            score_without_training()
        code = main(order["argv"])
    except BaseException:
        traceback.print_exc()
        code = 70
    os.write(changes, str(library.faults_count()).encode())
    return code


def score_without_training() -> None:
    """The runs of a sweep are processes of their own, which are tried as the commands that they are."""
    from m2t_fast.training import sweep

    def outcome(folder: Path, training: object, scoring: object, point: sweep.Point, stop: object) -> sweep.Outcome:
        row = {"model": point.name, "beam_size": 1, "force_gate": None, "motions": 3, "references": 9}
        row |= {"bleu_1": 50.0 + point.lambda_spat, "bleu_4": 20.0}
        scores = {"data": "synthetic", "split": "test", "text": "raw", "protocol": "p", "rows": [row]}
        return sweep.Outcome(10.0 + point.lambda_spat, scores)

    sweep.train_and_score = outcome


def serve(library: ctypes.CDLL) -> None:
    """Forks a process per line of stdin; answers as they end, in the order in which they began, or halt."""
    importlib.import_module("torch._dynamo")  # the first optimiser would, in every process that trains
    for package in ("captioning", "cli", "data", "evaluation", "interpretation", "motion", "preparation", "training"):
        found = importlib.import_module(f"m2t_fast.{package}")
        for module in pkgutil.iter_modules(found.__path__):
            with contextlib.suppress(ImportError):
                importlib.import_module(f"m2t_fast.{package}.{module.name}")
    for line in sys.stdin:
        order = json.loads(line)
        reader, writer = os.pipe()
        said = os.open(f"{order['said']}", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        process = os.fork()
        if process == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(said, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = _command(order, library, writer)
            sys.stderr.flush()
            os._exit(code)
        os.close(writer)
        _, status = os.waitpid(process, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            print(json.dumps(None), flush=True)
            sys.stdin.readline()
            os.kill(process, signal.SIGCONT)
            _, status = os.waitpid(process, 0)
        counted = os.read(reader, 100)
        os.close(reader)
        os.lseek(said, 0, os.SEEK_SET)
        text = os.read(said, 1 << 20).decode(errors="replace")
        os.close(said)
        print(json.dumps([os.waitstatus_to_exitcode(status), text, int(counted or 0)]), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        serve(ctypes.CDLL(sys.argv[1]))
