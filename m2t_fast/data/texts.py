"""Caption files: one caption per line, with its tagged tokens and times where the file has them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from m2t_fast import reading
from m2t_fast.data.faults import DataFault
from m2t_fast.data.raw import Caption


def read_captions(path: str | Path) -> list[Caption]:
    """The captions of one text file; blank lines are skipped.

    A start or end of "nan" (HumanML3D has some) means the whole motion, as 0.0 does.

    Raises:
        UserError: the file is unreadable, not UTF-8, has no captions, or a line is malformed (its number is named).
    """
    captions = []
    for found in parse_captions(path):
        if isinstance(found, DataFault):
            raise found
        captions.append(found)
    return captions


def parse_captions(path: str | Path) -> list[Caption | DataFault]:
    """For each non-blank line of a text file its caption, or what is wrong with it.

    Raises:
        UserError: the file is unreadable, not UTF-8, or has nothing but blank lines.
    """
    found = list(_lines(Path(path)))
    if not found:
        raise DataFault(
            "no captions",
            f"{path}: no captions; expected a line 'caption#token/POS ...#start#end' or a plain caption",
        )
    return found


def _lines(path: Path) -> Iterator[Caption | DataFault]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                yield _parse(line.strip(), f"{path}: line {number}")
            except DataFault as fault:
                yield fault


def _parse(line: str, where: str) -> Caption:
    fields = line.rsplit("#", 3)
    if not fields[0].strip():
        raise DataFault("empty caption", f"{where}: no caption before the first '#'")
    if len(fields) == 1:
        return Caption(text=line, tags=None)

    def malformed(reason: str) -> DataFault:
        return DataFault("malformed caption", f"{where}: {reason}")

    if len(fields) != 4:
        raise malformed(f"{len(fields)} fields between '#', expected caption#token/POS ...#start#end")
    tags = []
    for item in fields[1].split():
        token, slash, tag = item.rpartition("/")
        if not slash or not tag:
            raise malformed(f"tagged token {item!r}, expected token/POS")
        tags.append((token, tag))
    times = []
    for name, field in zip(("start", "end"), fields[2:], strict=True):
        try:
            seconds = float(field)
        except ValueError:
            raise malformed(f"{name} {field.strip()!r}, expected seconds") from None
        if math.isinf(seconds) or seconds < 0:
            raise malformed(f"{name} {field.strip()}, expected finite seconds from 0 on")
        times.append(0.0 if math.isnan(seconds) else seconds)
    return Caption(text=fields[0].strip(), tags=tuple(tags) or None, start=times[0], end=times[1])


def read_text(path: Path) -> str:
    """The whole of a UTF-8 file, with or without a byte order mark.

    Raises:
        UserError: the file is unreadable or not UTF-8.
    """
    try:
        return reading.read_text(path, "utf-8-sig")
    except reading.Unreadable as error:
        raise DataFault("unreadable text", str(error)) from None
