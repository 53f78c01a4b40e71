"""Captions of motion files in a table: .csv with a header, or .jsonl with one object per line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2t_fast.data.folder import SPLITS
from m2t_fast.data.text import tokenise
from m2t_fast.errors import UserError
from m2t_fast.reading import Malformed, parse_json, read_text

FIELDS: tuple[str, ...] = ("file", "caption", "start", "end", "source", "split")
"""What a row may have; ``file`` and ``caption`` it must have. A .jsonl row may have ``captions``, a list, instead."""

_LONGEST = 1e9
"""Seconds, more than 30 years: times beyond are mistakes, and a count of their frames may not be finite."""


@dataclass(frozen=True)
class CaptionRow:
    """One caption of one file.

    ``file``: the path, the name, or the name without its ending, of a motion file. ``start`` and ``end``: seconds of
    the file that the caption is about (None: all of it). ``source``: who or what was captured; one source is in one
    split. ``split``: "train", "val" or "test"; None: drawn.
    """

    file: str
    caption: str
    start: float | None = None
    end: float | None = None
    source: str | None = None
    split: str | None = None


def read_caption_rows(path: str | Path) -> list[CaptionRow]:
    """The rows of a caption file, in its order.

    Raises:
        UserError: the file is unreadable, is neither .csv nor .jsonl, or a row is malformed (its line is named).
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".csv", ".tsv", ".jsonl"):
        raise UserError(f"{path}: expected captions as .csv or .jsonl")
    text = read_text(path, "utf-8-sig")
    records = _json_lines(path, text) if ending == ".jsonl" else _table(path, text, "\t" if ending == ".tsv" else None)
    rows = [row for number, record in records for row in _rows(f"{path}: line {number}", record)]
    if not rows:
        raise UserError(f"{path}: no captions; expected rows with {', '.join(FIELDS[:2])}")
    return rows


def rows_of(
    rows: Sequence[CaptionRow], files: Iterable[tuple[Path, str]]
) -> tuple[dict[Path, list[CaptionRow]], list[CaptionRow]]:
    """The rows of every file, and the rows that belong to none of them.

    Args:
        rows: of the caption file.
        files: paths with the names that they go by (the path as given, or from the folder that was given).

    Raises:
        UserError: a row's name fits several files.
    """
    by_name: dict[str, list[Path]] = {}
    found: dict[Path, list[CaptionRow]] = {}
    for path, name in files:
        found[path] = []
        stem = Path(name).with_suffix("").as_posix()
        for known in dict.fromkeys((str(path), name, stem, path.name, path.stem)):
            by_name.setdefault(known, []).append(path)
    strays = []
    for row in rows:
        paths = by_name.get(row.file) or by_name.get(Path(row.file).as_posix()) or []
        if len(paths) > 1:
            shown = ", ".join(map(str, paths[:3]))
            raise UserError(f"captions: {row.file!r} may be any of {shown}; expected a path that fits one file")
        if paths:
            found[paths[0]].append(row)
        else:
            strays.append(row)
    return found, strays


def _table(path: Path, text: str, delimiter: str | None) -> list[tuple[int, dict[str, Any]]]:
    head = text.split("\n", 1)[0]
    chosen = delimiter or max(",;\t", key=head.count)  # spreadsheets write what the language of the system wants
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=chosen, strict=True)
        names = [(name or "").strip().lower() for name in reader.fieldnames or []]
        unknown = [name for name in names if name not in FIELDS]
        if unknown or not {"file", "caption"} <= set(names):
            raise UserError(
                f"{path}: line 1: columns {', '.join(names) or 'none'}; expected file, caption and, if known, "
                f"{', '.join(FIELDS[2:])}"
            )
        reader.fieldnames = names
        records = []
        for record in reader:
            if None in record or None in record.values():
                raise UserError(f"{path}: line {reader.line_num}: expected {len(names)} values")
            records.append((reader.line_num, {name: value for name, value in record.items() if value.strip()}))
    except csv.Error as error:
        raise UserError(f"{path}: not a table ({error})") from None
    return [(number, record) for number, record in records if record]


def _json_lines(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except Malformed as error:
            raise UserError(f"{path}: line {number}: {error}") from None
        unknown = [name for name in record if name not in (*FIELDS, "captions")] if isinstance(record, dict) else None
        if unknown is None or unknown or not ("file" in record and ("caption" in record) != ("captions" in record)):
            what = f"unknown field {unknown[0]!r}" if unknown else f"got {line.strip()[:60]!r}"
            raise UserError(
                f'{path}: line {number}: {what}; expected {{"file": ..., "caption": ...}} or "captions": [...], and, '
                f"if known, {', '.join(FIELDS[2:])}"
            )
        records.append((number, record))
    return records


def _rows(where: str, record: dict[str, Any]) -> list[CaptionRow]:
    several = record["captions"] if "captions" in record else [record.get("caption")]
    if not isinstance(several, list) or not several:
        raise UserError(f"{where}: captions {several!r}, expected a list of strings")
    for caption in several:
        if not isinstance(caption, str) or not tokenise(caption):
            raise UserError(f"{where}: caption {caption!r}, expected words")
        if "#" in caption or "\n" in caption.strip():
            raise UserError(f"{where}: caption {caption!r}, expected no '#' and no line break (text files use them)")
    texts: dict[str, str | None] = {}
    for name in ("file", "source", "split"):
        value = record.get(name)
        if value is not None and not (isinstance(value, str | int) and str(value).strip()):
            raise UserError(f"{where}: {name} {value!r}, expected a string")
        texts[name] = None if value is None else str(value).strip()
    if texts["file"] is None:
        raise UserError(f"{where}: no file")
    if texts["split"] not in (None, *SPLITS):
        raise UserError(f"{where}: split {texts['split']!r}, expected one of {', '.join(SPLITS)}")
    start, end = (_seconds(where, name, record.get(name)) for name in ("start", "end"))
    if start is not None and end is not None and end <= start:
        raise UserError(f"{where}: start {start:g} and end {end:g}, expected an end after the start")
    file = texts["file"]
    return [CaptionRow(file, caption.strip(), start, end, texts["source"], texts["split"]) for caption in several]


def _seconds(where: str, name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds <= _LONGEST:
        raise UserError(f"{where}: {name} {value!r}, expected seconds of the file")
    return seconds
