"""The part files of a job: one line per motion, appended when done, found after any interruption, merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from m2t_fast.errors import UserError
from m2t_fast.journals import Appender, cut_torn_tail, lines_of
from m2t_fast.reading import Malformed, parse_json

_RECORD = {"number": int, "file?": str, "caption?": str, "score?": float, "error?": str}


class Bits:
    """One bit per motion: which are done."""

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
    """The part files ``part-RANK.jsonl`` in a folder. A record is a JSON object with the motion's ``number``. ``done``
    motions have a caption, ``known`` ones that or an error.

    Args:
        folder: holds the part files.
        count: motions of the job.
        window: motions that are worked on together; the merge holds the records of one window in memory.
    """

    def __init__(self, folder: Path, count: int, window: int):
        self.folder, self.count, self.window = folder, count, window
        self.done, self.known = Bits(count), Bits(count)
        self._segments: dict[int, list[tuple[Path, int, int]]] = {}

    def scan(self) -> None:
        """Reads what is there, and cuts off the torn line that a killed process left at the end of its file.

        Raises:
            UserError: a file is damaged elsewhere.
        """
        self.done, self.known, self._segments = Bits(self.count), Bits(self.count), {}
        for path in sorted(self.folder.glob("part-*.jsonl")):
            cut_torn_tail(path)
            start, last = 0, -1
            for end, line in lines_of(path):
                number = self._number(path, line)
                if number // self.window != last:
                    start, last = end - len(line), number // self.window
                    self._segments.setdefault(last, []).append((path, start, end))
                self._segments[last][-1] = (path, start, end)

    def _number(self, path: Path, line: bytes) -> int:
        try:
            record: dict[str, Any] = parse_json(line, _RECORD)
            number: int = record["number"]
            if not 0 <= number < self.count or not ("error" in record or "caption" in record):
                raise Malformed("another record")
        except Malformed as error:
            raise UserError(f"{path}: damaged ({error}); remove its folder to start again") from None
        self.known.add(number)
        if "error" not in record:  # what could not be read is tried again
            self.done.add(number)
        return number

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
                    for line in file.read(end - start).split(b"\n")[:-1]:
                        record = json.loads(line)  # checked by scan()
                        if "error" not in record or "error" in records.get(record["number"], {"error": ""}):
                            records[record["number"]] = record
            for number in sorted(records):
                yield records[number]


class Part(Appender):
    """This process's part file, open for appending; a context manager.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, folder: Path, rank: int):
        super().__init__(folder / f"part-{rank:05d}.jsonl")

    def append(self, records: list[dict[str, Any]]) -> None:
        """Writes the records; when this returns, killing the process does not lose them."""
        self.write("".join(json.dumps(record, ensure_ascii=True) + "\n" for record in records).encode("ascii"))
