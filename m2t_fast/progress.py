"""Progress of a long job: a bar on a terminal, an occasional line where stderr is a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

LINE_SECONDS = 30.0
"""Seconds between two lines where stderr is not a terminal; a shorter job prints nothing."""

_BAR_SECONDS = 1.0  # before a bar shows: most jobs are done by then

_Item = TypeVar("_Item")


class Progress:
    """A job of ``total`` pieces, ``done`` of them done before, counted by :meth:`update`; silent unless ``shown``.

    On a terminal it is a bar, which goes when the job is done. Elsewhere a line on stderr every ``LINE_SECONDS``, such
    as "reading data: 1,200 of 29,232 motions, 31 s": what a job's log should hold.
    """

    def __init__(self, total: int, what: str, unit: str = "motions", shown: bool = True, done: int = 0) -> None:
        self.total, self.what, self.unit, self.done = total, what, unit, done
        self.begun = self.told = time.monotonic()
        terminal = sys.stderr.isatty()
        self.lines = shown and not terminal
        self.bar = tqdm(
            total=total,
            initial=done,
            desc=what,
            unit=f" {unit}",
            leave=False,
            delay=_BAR_SECONDS,
            disable=not (shown and terminal),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.close()

    def update(self, count: int = 1) -> None:
        """Count further pieces as done."""
        self.done += count
        self.bar.update(count)
        if self.lines and (now := time.monotonic()) - self.told >= LINE_SECONDS:
            self.told = now
            text = f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {now - self.begun:.0f} s"
            print(text, file=sys.stderr, flush=True)


def progress(items: Collection[_Item], what: str, unit: str = "motions", shown: bool = True) -> Iterator[_Item]:
    """The items, one piece of a :class:`Progress` each."""
    with Progress(len(items), what, unit, shown) as bar:
        for item in items:
            yield item
            bar.update()
