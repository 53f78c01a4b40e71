"""Mirrored motions: left and right exchanged, in the joints and in the words."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from m2t_fast.data.raw import RawMotion
from m2t_fast.motion.joint_names import JOINT_NAMES
from m2t_fast.skeleton import PART_NAMES, skeleton_of

PREFIX = "M"
"""What the id of a mirrored motion begins with, as in HumanML3D."""

_SWAPS = {
    "left": "right",
    "lefts": "rights",
    "leftward": "rightward",
    "leftwards": "rightwards",
    "leftmost": "rightmost",
    "lefthand": "righthand",
    "lefthanded": "righthanded",
    "clockwise": "counterclockwise",
}
_SWAPS |= {other: one for one, other in _SWAPS.items()} | {"anticlockwise": "clockwise"}
# Not a side: "right away", "right before", "at a right angle", "nothing is left over".
_NO_SIDE = re.compile(
    r"\bright\s+(?:away|now|before|after|afterwards|then|where|angles?)\b|\bleft\s+over\b", re.IGNORECASE
)
_TURN = re.compile(r"\b(?:counter|anti)[\s-]+clockwise\b", re.IGNORECASE)
_WORD = re.compile(rf"\b({'|'.join(sorted(_SWAPS, key=len, reverse=True))})\b", re.IGNORECASE)


def mirror_joints(joints: np.ndarray) -> np.ndarray:
    """Positions (T, J, 3), Y up, seen in a mirror: x negated, left and right joints exchanged.

    Raises:
        ValueError: neither 21 nor 22 joints.
    """
    names = JOINT_NAMES[skeleton_of(joints.shape[1]).name]
    order = [names.index(_other_side(name)) for name in names]
    return joints[:, order] * np.array([-1.0, 1.0, 1.0], dtype=joints.dtype)


def mirror_caption(text: str) -> str:
    """A caption with left and right, and the directions of turning, exchanged; capitals stay where they are.

    "right away" and the like name no side and stay.
    """
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    def swap(match: re.Match[str]) -> str:
        return _like(match[0], _SWAPS[match[0].lower()])

    text = _NO_SIDE.sub(keep, text)
    text = _TURN.sub(lambda match: "Counterclockwise" if match[0][0].isupper() else "counterclockwise", text)
    return re.sub(r"\0(\d+)\0", lambda match: kept[int(match[1])], _WORD.sub(swap, text))


def mirror_motion(motion: RawMotion) -> RawMotion:
    """A motion in a mirror: joints, captions with their tags, and the parts of its segments; the id gets ``PREFIX``."""
    captions = []
    for caption in motion.captions:
        tags = caption.tags and tuple((mirror_caption(token), tag) for token, tag in caption.tags)
        captions.append(dataclasses.replace(caption, text=mirror_caption(caption.text), tags=tags))
    segments = motion.segments and [
        dataclasses.replace(
            segment,
            action=mirror_caption(segment.action),
            parts=tuple(name for name in PART_NAMES if _other_side(name) in segment.parts),
        )
        for segment in motion.segments
    ]
    return RawMotion(PREFIX + motion.id, mirror_joints(motion.joints), captions, segments)


def _other_side(name: str) -> str:
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)


def _like(model: str, word: str) -> str:
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
