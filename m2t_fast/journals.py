"""Journals: files of lines, appended as work is done, whose last line may be torn by a crash or a full disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from m2t_fast.errors import UserError
from m2t_fast.files import open_own, require_own
from m2t_fast.reading import open_regular

_BLOCK = 1 << 16


def cut_torn_tail(path: Path) -> None:
    """Cuts off what follows the last whole line of a journal, if there is one. No other process may be appending.

    Raises:
        UserError: the journal is a link, which could lead out of its folder, not a regular file, or cannot be written.
    """
    require_own(path)
    if not path.exists():
        return
    open_regular(path).close()
    try:
        with os.fdopen(open_own(path, os.O_RDWR), "r+b") as file:
            end = whole = file.seek(0, os.SEEK_END)
            while whole:
                start = max(0, whole - _BLOCK)
                file.seek(start)
                found = file.read(whole - start).rfind(b"\n")
                if found >= 0:
                    whole = start + found + 1
                    break
                whole = start
            if whole < end:
                file.truncate(whole)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a journal, each with the position after it; a torn tail is left out.

    Raises:
        Missing, Unreadable: there is no such file, or it cannot be read.
    """
    with open_regular(path) as file:
        end = 0
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, line


class Appender:
    """A journal open for appending; a context manager.

    Raises:
        UserError: it is a link or not a regular file, or cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Self:
        cut_torn_tail(self.path)
        self._file = open_own(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, lines: bytes) -> None:
        """Writes whole lines; when this returns, killing the process does not lose them. Where they do not fit, the
        part that did is taken back."""
        before = os.fstat(self._file).st_size
        try:
            while lines:
                lines = lines[os.write(self._file, lines) :]
        except OSError as error:
            os.ftruncate(self._file, before)
            raise UserError(f"{self.path}: cannot write: {error.strerror or error}") from None
