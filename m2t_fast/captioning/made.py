"""Whose output it is: a job notes what its own looks like, so that it takes no other for it and keeps its captions."""

from __future__ import annotations

import json
from pathlib import Path

from m2t_fast.files import write_text
from m2t_fast.reading import Malformed, Unreadable, parse_json, read_text

MADE = "made.json"
"""The file of the note, in the folder of the work."""


def note_made(folder: Path, temporary: Path) -> None:
    """Notes in ``folder`` the file that is about to become the output.

    Raises:
        UserError: the note cannot be written.
    """
    write_text(folder / MADE, json.dumps(_look(temporary)))


def is_made(folder: Path, output: Path) -> bool:
    """Whether the output is the file that was noted in ``folder``, and not one that another process has put there."""
    try:
        noted: list[int] = parse_json(read_text(folder / MADE), [int])
    except (Malformed, Unreadable):
        return False
    return noted == _look(output)


def _look(path: Path) -> list[int]:
    """Size and time of the last change, which renaming keeps."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
