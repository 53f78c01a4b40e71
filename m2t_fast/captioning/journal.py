"""The part files of a job: a line a motion, appended as it is done, found again after any end, merged in order."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from m2t_fast.errors import UserError


class Bits:
    """One bit a motion: which are done."""

    def __init__(self, count: int):
        self.count = count
        self._bytes = bytearray(-(-count // 8))

    def add(self, number: int) -> None:
        """Sets a bit."""
        self._bytes[number >> 3] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        return bool(self._bytes[number >> 3] >> (number & 7) & 1)

    def __len__(self) -> int:
        """How many are set."""
        return int.from_bytes(self._bytes, "little").bit_count()


class Journal:
    """The part files ``part-RANK.jsonl`` in a folder. A record is a JSON object with the motion's ``number``.

    Args:
        folder: holds the part files.
        count: motions of the job.
        window: motions that are worked on together; the merge holds the records of one window in memory.
    """

    def __init__(self, folder: Path, count: int, window: int):
        self.folder, self.count, self.window = folder, count, window
        self.done = Bits(count)
        self._segments: dict[int, list[tuple[Path, int, int]]] = {}

    def scan(self) -> None:
        """Reads what is there, and cuts off the torn line that a killed process left at the end of its file.

        Raises:
            UserError: a file is damaged elsewhere.
        """
        self.done, self._segments = Bits(self.count), {}
        for path in sorted(self.folder.glob("part-*.jsonl")):
            with open(path, "r+b") as file:
                start = end = 0
                last = -1
                for line in file:
                    if not line.endswith(b"\n"):
                        file.truncate(end)
                        break
                    number = self._number(path, line)
                    if number // self.window != last:
                        start, last = end, number // self.window
                        self._segments.setdefault(last, []).append((path, start, end))
                    end += len(line)
                    self._segments[last][-1] = (path, start, end)

    def _number(self, path: Path, line: bytes) -> int:
        try:
            record = json.loads(line)
            number = record["number"]
            if not 0 <= number < self.count:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: damaged; remove its folder to start again") from None
        if "error" not in record:  # what could not be read is tried again
            self.done.add(number)
        return int(number)

    def open_windows(self) -> list[int]:
        """The windows in which something is left to do, ascending."""
        windows = range(-(-self.count // self.window))
        return [w for w in windows if any(n not in self.done for n in self.numbers(w))]

    def numbers(self, window: int) -> range:
        """The motions of a window."""
        return range(window * self.window, min((window + 1) * self.window, self.count))

    def merged(self) -> Iterator[dict[str, Any]]:
        """The records of all motions in their order, once each; call :meth:`scan` first."""
        for window in sorted(self._segments):
            records: dict[int, dict[str, Any]] = {}
            for path, start, end in self._segments[window]:
                with open(path, "rb") as file:
                    file.seek(start)
                    for line in file.read(end - start).splitlines():
                        record = json.loads(line)
                        if "error" not in record or "error" in records.get(record["number"], {"error": ""}):
                            records[record["number"]] = record
            for number in sorted(records):
                yield records[number]


class Part:
    """This process's part file, open for appending; a context manager.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, folder: Path, rank: int):
        self.path = folder / f"part-{rank:05d}.jsonl"

    def __enter__(self) -> Part:
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UserError(f"{self.path}: cannot write: {error.strerror or error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def append(self, records: list[dict[str, Any]]) -> None:
        """Writes the records; when this returns, killing the process does not lose them."""
        text = "".join(json.dumps(record, ensure_ascii=True) + "\n" for record in records).encode("ascii")
        try:
            while text:
                text = text[os.write(self._file, text) :]
        except OSError as error:
            raise UserError(f"{self.path}: cannot write: {error.strerror or error}") from None
