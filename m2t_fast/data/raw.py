"""Motions and captions as they were read or generated, before any preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2t_fast.data.faults import Fault
from m2t_fast.skeleton import Skeleton


@dataclass(frozen=True)
class Caption:
    """One caption of a motion.

    ``text`` is the caption as written; ``tags`` holds ((token, part of speech), ...) as in the text file, None where
    the file has none; ``start`` and ``end`` are seconds (0.0 and 0.0: the whole motion).
    """

    text: str
    tags: tuple[tuple[str, str], ...] | None
    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True)
class Segment:
    """Ground truth of one action inside a motion.

    ``start`` and ``end`` are frames at the distributed rate, end exclusive; ``parts`` are the names of
    ``skeleton.PART_NAMES`` that perform the action. ``active``: the frames in which it really happens, without
    pauses and transitions, where these are known. ``words``: for each caption of the motion the verb (any
    form) that names the action, None where that caption does not name it; () where nothing is known.
    """

    action: str
    start: int
    end: int
    parts: tuple[str, ...]
    active: tuple[int, int] | None = None
    words: tuple[str | None, ...] = ()


@dataclass
class RawMotion:
    """One motion: ``joints`` (frames, J, 3) float32, metres, Y up, with its captions."""

    id: str
    joints: np.ndarray
    captions: list[Caption]
    segments: list[Segment] | None = None


@dataclass
class RawData:
    """All motions of a data set: ``splits`` by name ("train", "val", "test"); ``source`` is a folder or "synthetic";
    ``faults`` lists what was left out."""

    skeleton: Skeleton
    splits: dict[str, list[RawMotion]]
    source: str
    faults: tuple[Fault, ...] = ()
