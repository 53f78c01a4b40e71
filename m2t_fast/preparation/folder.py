"""Writes a data folder in HumanML3D's layout, as ``data.folder.read_folder`` reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast.data.folder import SPLITS
from m2t_fast.data.raw import Caption, RawMotion, Segment
from m2t_fast.data.tagging import tag_words
from m2t_fast.data.text import tokenise


def write_folder(folder: str | Path, splits: Mapping[str, Iterable[RawMotion]]) -> dict[str, int]:
    """Writes motions with their captions into an existing, empty folder, one at a time.

    Captions without tags get those of the tagger (``data.tagging``).

    Args:
        folder: where ``new_joints/``, ``texts/``, the split files and, if any motion has segments, ``segments.json``
            are made.
        splits: motions by split; a split that is missing becomes an empty file. Ids are plain file names, each once.

    Returns:
        how many motions each split got.

    Raises:
        ValueError: an unknown split, or an id that appears twice.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    for name in splits:
        if name not in SPLITS:
            raise ValueError(f"splits: got {name!r}, expected some of {', '.join(SPLITS)}")
    for name in ("new_joints", "texts"):
        (folder / name).mkdir()
    segments: dict[str, Any] = {}
    seen: set[str] = set()
    counts = {}
    for split in SPLITS:
        ids = []
        for motion in splits.get(split, ()):
            if motion.id in seen:
                raise ValueError(f"splits: id {motion.id!r} appears twice")
            seen.add(motion.id)
            np.save(folder / "new_joints" / f"{motion.id}.npy", motion.joints.astype(np.float32, copy=False))
            lines = "\n".join(caption_line(caption) for caption in motion.captions)
            (folder / "texts" / f"{motion.id}.txt").write_text(lines + "\n", encoding="utf-8")
            if motion.segments:
                segments[motion.id] = {"segments": [_describe(segment) for segment in motion.segments]}
            ids.append(motion.id)
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
        counts[split] = len(ids)
    if segments:
        (folder / "segments.json").write_text(json.dumps(segments, ensure_ascii=False), encoding="utf-8")
    return counts


def caption_line(caption: Caption) -> str:
    """A caption as a line of a text file: ``caption#token/POS token/POS ...#start#end``."""
    tags = caption.tags
    if tags is None:
        words = tokenise(caption.text)
        tags = tuple((word, tag or "X") for word, tag in zip(words, tag_words(words), strict=True))
    tagged = " ".join(f"{token}/{tag}" for token, tag in tags)
    return f"{caption.text}#{tagged}#{caption.start}#{caption.end}"


def _describe(segment: Segment) -> dict[str, Any]:
    described: dict[str, Any] = {
        "content": segment.action,
        "start": segment.start,
        "end": segment.end,
        "parts": list(segment.parts),
    }
    if segment.active is not None:
        described["active"] = list(segment.active)
    if segment.words:
        described["caption_verbs"] = list(segment.words)
    return described
