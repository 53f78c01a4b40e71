"""Cells measured in processes that may hang, crash or be poisoned: each costs its cell, and the rest is measured.

A worker writes into a journal when a cell begins and when it ends. A cell that outlasts its limit ends its process,
from a thread of C that needs no Python lock; so does a CUDA error, after which nothing in its process can be trusted.
Whoever started the worker then starts another, which goes on behind the last cell that began.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gpu_process

POISONED = 3
"""Exit code of a worker whose process a CUDA error has spoiled."""
MOST_HARD = 2
"""So often a group may end its process; then its other cells are left out."""
LEAST = 5.0
"""Seconds that must be left for another worker: loading torch takes them."""
_POISON = (
    "CUDA error",
    "CUDA driver error",
    "CUBLAS_STATUS",
    "CUDNN_STATUS",
    "an earlier kernel",
    "device-side assert",
)


def poisons(error: BaseException) -> bool:
    """Whether an error leaves the process without a usable device."""
    if "OutOfMemory" in type(error).__name__:
        return False
    text = f"{type(error).__name__}: {error}"
    return "AcceleratorError" in text or any(mark in text for mark in _POISON)


def describe(error: BaseException) -> str:
    """Type and message in one line: a type alone says too little where the run cannot be repeated."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]


class Journal:
    """Lines {"name", "group", "state": "begun" | "ended" | "lost", ...} of one run's cells."""

    def __init__(self, path: Path):
        self.path = path
        self.lines: list[dict[str, Any]] = []
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    self.lines.append(json.loads(line))
                except ValueError:  # its process was killed while it wrote
                    continue

    def add(self, **line: Any) -> None:
        """Append a line; on the disk when this returns."""
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def begun(self) -> set[str]:
        """Names of the cells that need no further attempt."""
        return {line["name"] for line in self.lines}

    def open(self) -> dict[str, Any] | None:
        """The cell that began and did not end."""
        ended = {line["name"] for line in self.lines if line["state"] != "begun"}
        return next((line for line in self.lines if line["name"] not in ended), None)

    def hard(self, group: str) -> int:
        """How many cells of a group have taken their process down."""
        return sum(line["group"] == group and line.get("hard", False) for line in self.lines)


def attempt(
    journal: Journal,
    name: str,
    group: str,
    limit: float,
    measure: Callable[[], Any],
    note: Callable[[str], Any],
    **place: Any,
) -> None:
    """Call ``measure`` once in the whole run, with ``limit`` seconds; its error, in words, goes to ``note``.

    Ends the process where the device cannot be used any more. ``place`` is what the journal says of a cell beside its
    name, for whoever finds it lost.
    """
    if name in journal.begun():
        return
    if journal.hard(group) >= MOST_HARD:
        journal.add(name=name, group=group, state="ended")
        note(f"left out: {group} has ended {MOST_HARD} processes")
        return
    journal.add(name=name, group=group, state="begun", limit=limit, **place)
    faulthandler.dump_traceback_later(limit, exit=True)
    try:
        measure()
    except Exception as error:  # one cell's failure must not cost the others their numbers
        faulthandler.cancel_dump_traceback_later()
        spoiled = poisons(error)
        note(describe(error))
        journal.add(name=name, group=group, state="ended", hard=spoiled)
        traceback.print_exc(limit=-6, file=sys.stdout)
        sys.stdout.flush()
        if spoiled:
            os._exit(POISONED)
    else:
        faulthandler.cancel_dump_traceback_later()
        journal.add(name=name, group=group, state="ended")


def supervise(
    command: Sequence[str],
    path: Path,
    budget: float,
    lost: Callable[[dict[str, Any], str], Any],
    log: Path | None = None,
) -> bool:
    """Run ``command`` until it has come to its end, as often as it takes and ``budget`` seconds allow.

    Args:
        path: of the journal that the command keeps.
        lost: is given the journal's line of a cell that took its process with it, and how that ended.

    Returns:
        Whether the command came to its end.
    """
    until = time.monotonic() + budget
    while True:
        before = len(Journal(path).lines)
        ended = gpu_process.run(command, until - time.monotonic(), log, nested=True)
        journal = Journal(path)
        if (line := journal.open()) is not None:
            late = "no time left: " if ended.late else ""
            journal.add(name=line["name"], group=line["group"], state="lost", hard=True)
            lost(line, f"{late}it took its process with it ({_reason(line, ended)})")
        if ended.code == 0:
            return True
        if ended.late or len(journal.lines) == before or until - time.monotonic() < LEAST:
            return False


def _reason(line: dict[str, Any], ended: gpu_process.Ended) -> str:
    if ended.late:
        return "the section's time ended"
    return f"a hang: {line['limit']:g} s" if ended.code == 1 else ended.describe()
