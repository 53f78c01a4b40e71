"""Segments as files that other programs open: subtitles, a table, ELAN."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path

FORMATS: tuple[str, ...] = ("srt", "vtt", "csv", "eaf")
"""SubRip and WebVTT subtitles, comma-separated values, ELAN's annotations."""

_LIBRARIES = {"srt": "pysubs2", "vtt": "pysubs2", "eaf": "pympi"}


class Line(NamedTuple):
    """A segment to write: seconds of the file, its text, and the confidence, 0 to 1."""

    start: float
    end: float
    caption: str
    confidence: float


def require(kind: str) -> None:
    """Raise now if what writes files of this kind is missing.

    Raises:
        UserError: a library is not installed.
    """
    library = _LIBRARIES.get(kind)
    if library is not None and importlib.util.find_spec(library) is None:
        raise UserError(f"--{kind} needs the package {library}: pip install 'm2t_fast[subtitles]'")


def write(kind: str, path: Path, lines: Sequence[Line], media: str = "") -> None:
    """Writes segments; an existing file is replaced as a whole.

    Args:
        kind: one of ``FORMATS``.
        path: the file.
        lines: in order.
        media: of an ELAN file the name of the motion it belongs to.

    Raises:
        UserError: the file cannot be written. ValueError: an unknown kind.
    """
    if kind not in FORMATS:
        raise ValueError(f"kind: got {kind!r}, expected one of {', '.join(FORMATS)}")
    with atomic_path(path) as temporary:
        if kind == "eaf":
            _write_elan(temporary, lines, media)
        else:
            text = _table(lines) if kind == "csv" else _subtitles(kind, lines)
            temporary.write_text(text, encoding="utf-8", newline="")


def _subtitles(kind: str, lines: Sequence[Line]) -> str:
    import pysubs2

    subtitles = pysubs2.SSAFile()
    for line in lines:
        subtitles.append(pysubs2.SSAEvent(_milliseconds(line.start), _milliseconds(line.end), text=line.caption))
    return str(subtitles.to_string(kind))


def _table(lines: Sequence[Line]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("start", "end", "caption", "confidence"))
    for line in lines:
        writer.writerow((f"{line.start:.3f}", f"{line.end:.3f}", line.caption, f"{line.confidence:.3f}"))
    return text.getvalue()


def _write_elan(path: Path, lines: Sequence[Line], media: str) -> None:
    from pympi import Elan

    document = Elan.Eaf(author="m2t_fast")
    document.remove_tier("default")
    document.add_tier("captions")
    if media:
        document.add_property("motion", media)
    for line in lines:
        start, end = _milliseconds(line.start), _milliseconds(line.end)
        document.add_annotation("captions", start, max(end, start + 1), line.caption)
    document.to_file(str(path))


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
