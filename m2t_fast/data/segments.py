"""segments.json: when the actions of a motion happen, with which body parts, and which words name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from m2t_fast.data.faults import DataFault
from m2t_fast.data.raw import Segment
from m2t_fast.data.texts import read_text
from m2t_fast.reading import Malformed, parse_json, shown
from m2t_fast.skeleton import PART_NAMES

_KIND = "malformed segments"


def read_segments(path: Path) -> dict[str, Any]:
    """What the file says of each motion, unchecked; {} if there is no such file.

    Raises:
        UserError: the file is unreadable, truncated or not a JSON object.
    """
    if not path.exists():
        return {}
    try:
        content = parse_json(read_text(path))
    except Malformed as error:
        raise DataFault(_KIND, f"{path}: truncated or {error}") from None
    if not isinstance(content, dict):
        raise DataFault(_KIND, f'{path}: got a JSON {type(content).__name__}, expected {{id: {{"segments": [...]}}}}')
    return content


def parse_segments(entry: Any, frames: int, captions: int, where: str) -> list[Segment]:
    """The segments of a motion of ``frames`` frames and ``captions`` captions; ``where`` is for messages.

    Raises:
        UserError: anything in them is malformed.
    """
    listed = entry.get("segments") if isinstance(entry, dict) else None
    if not isinstance(listed, list):
        raise DataFault(_KIND, f'{where}: expected {{"segments": [...]}}')
    return [_parse(item, frames, captions, f"{where}: segment {number}") for number, item in enumerate(listed)]


def _parse(item: Any, frames: int, captions: int, where: str) -> Segment:
    def malformed(reason: str) -> DataFault:
        return DataFault(_KIND, f"{where}: {reason}")

    try:
        action, start, end, parts = item["content"], item["start"], item["end"], tuple(item["parts"])
    except (KeyError, TypeError):
        raise malformed("expected content, start, end and parts") from None
    if not isinstance(action, str) or type(start) is not int or type(end) is not int:
        raise malformed("expected content as a string and start, end as frame numbers")
    if not 0 <= start < end <= frames:
        raise malformed(f"frames {start} to {end}, expected a range in 0 to {frames}")
    for part in parts:
        if part not in PART_NAMES:
            raise malformed(f"part {shown(part)}, expected some of {', '.join(PART_NAMES)}")
    active, words = item.get("active"), item.get("caption_verbs") or []
    if active is not None:
        if not (isinstance(active, list) and len(active) == 2 and all(type(frame) is int for frame in active)):
            raise malformed(f"active {shown(active)}, expected [start, end] in frames")
        if not 0 <= active[0] < active[1] <= frames:
            raise malformed(f"active frames {active[0]} to {active[1]}, expected a range in 0 to {frames}")
    if not isinstance(words, list) or not all(word is None or isinstance(word, str) for word in words):
        raise malformed(f"caption_verbs {shown(words)}, expected a word or null per caption")
    if words and len(words) != captions:
        raise malformed(f"{len(words)} caption_verbs, expected one for each of {captions} captions")
    return Segment(action, start, end, parts, tuple(active) if active else None, tuple(words))
