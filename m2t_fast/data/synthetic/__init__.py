"""Synthetic data: plausible skeleton motions with captions, tags and the frames and body parts of every action.

``actions`` plans what is done, ``locomotion`` and ``gestures`` animate it on a ``track`` of pose channels, ``body``
turns the channels into joint positions, ``captions`` (with ``words``) says it in a grammar, ``motion`` joins them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from m2t_fast.data.raw import RawData, RawMotion
from m2t_fast.data.synthetic.body import rig_of
from m2t_fast.data.synthetic.motion import draft, finish
from m2t_fast.skeleton import skeleton_of

SPLITS: tuple[str, ...] = ("train", "val", "test")
DEFAULT_COUNT: dict[str, int] = {"train": 800, "val": 80, "test": 120}

_BATCH = 32  # motions whose kinematics are computed together: large enough for numpy, small enough for the cache


def generate(count: int | Mapping[str, int] | None = None, seed: int = 0, joints: int = 22) -> RawData:
    """Make motions of a body that walks, turns, waves, kicks ..., one to three actions each, with captions.

    A motion depends on the seed, its split and its place in the split alone, so asking for more of one split changes
    nothing else. The same actions, captions and timing in seconds come out for both skeletons.

    Args:
        count: motions of each split, e.g. ``{"train": 800, "val": 80, "test": 120}`` (the default; a split left out
            gets none), or their sum, of which val gets 8 % and test 12 %.
        seed: not negative; the same seed gives the same data bit for bit.
        joints: 22 (HumanML3D, 20 frames per second, 41 to 197 frames) or 21 (KIT-ML, 12.5, 26 to 123 frames).

    Returns:
        Motions (frames, J, 3) float32 in metres, Y up, that start at x = z = 0 facing +Z with the lowest joint of a
        standing frame at y = 0; 3 or 4 captions each; ``segments`` tile the frames, one per action.

    Raises:
        ValueError: ``count``, ``seed`` or ``joints`` is not one of these; the message names it.
        TypeError: ``count`` or ``seed`` is not whole numbers.
    """
    counts = _counts(DEFAULT_COUNT if count is None else count)
    if not _is_whole(seed):
        raise TypeError(f"seed: got {seed!r}, expected a whole number")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, expected 0 or more")
    skeleton = skeleton_of(joints)
    rig = rig_of(skeleton)
    splits: dict[str, list[RawMotion]] = {}
    for place, split in enumerate(SPLITS):
        splits[split] = []
        for first in range(0, counts.get(split, 0), _BATCH):
            numbers = range(first, min(first + _BATCH, counts[split]))
            drafts = [draft(f"{split}_{i:05d}", seed, (place, i), rig, skeleton.fps) for i in numbers]
            splits[split] += finish(drafts, rig, skeleton.fps)
    return RawData(skeleton=skeleton, splits=splits, source="synthetic")


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _counts(count: int | Mapping[str, int]) -> dict[str, int]:
    """Motions per split, checked."""
    if isinstance(count, Mapping):
        if not count:
            raise ValueError(f"count: got no split, expected motions for some of {', '.join(SPLITS)}")
        for split, motions in count.items():
            if split not in SPLITS:
                raise ValueError(f"count: got the split {split!r}, expected one of {', '.join(SPLITS)}")
            if not _is_whole(motions):
                raise TypeError(f"count: got {motions!r} for {split}, expected a whole number")
            if motions <= 0:
                raise ValueError(f"count: got {motions} for {split}, expected at least 1")
        return dict(count)
    if not _is_whole(count):
        raise TypeError(f"count: got {count!r}, expected a whole number or a mapping from splits to whole numbers")
    if count < len(SPLITS):
        raise ValueError(f"count: got {count}, expected at least {len(SPLITS)}, one motion for each split")
    val, test = max(1, round(0.08 * count)), max(1, round(0.12 * count))
    return {"train": count - val - test, "val": val, "test": test}
