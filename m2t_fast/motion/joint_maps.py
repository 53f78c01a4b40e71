"""Joint maps: which joints of a file are those of a run's skeleton, as a user writes it down."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.capture import Capture
from m2t_fast.motion.joint_names import JOINT_NAMES
from m2t_fast.motion.matching import match_joints
from m2t_fast.motion.matching.match import JointMap
from m2t_fast.reading import Malformed, read_json, shown
from m2t_fast.skeleton import Skeleton

__all__ = ["JointMap", "map_joints", "read_joint_map"]


def read_joint_map(path: str | Path, skeleton: Skeleton) -> dict[str, Any]:
    """A JSON file ``{our joint name: joint}`` for ``skeleton``; it may leave joints out. A joint is a name, a list of
    names whose average is meant, or weights by name, ``{"Spine": 0.3, "Spine1": 0.7}``, that add up to 1.

    Raises:
        UserError: the file is unreadable or malformed, or a name is not one of ``JOINT_NAMES``.
    """
    try:
        content = read_json(path, encoding="utf-8-sig")
    except Malformed as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: got a JSON {type(content).__name__}, expected {{our joint: joint of the file}}")
    names = JOINT_NAMES[skeleton.name]
    for name, theirs in content.items():
        if name not in names:
            raise UserError(f"{path}: unknown joint {name!r}, expected some of {', '.join(names)}")
        if isinstance(theirs, dict):
            good = bool(theirs) and all(
                isinstance(weight, int | float) and not isinstance(weight, bool) and abs(weight) < math.inf
                for weight in theirs.values()
            )
            if not good or abs(sum(theirs.values()) - 1.0) > 0.01:
                raise UserError(f"{path}: {name}: got {shown(theirs)}, expected weights by joint name that add up to 1")
            continue
        several = theirs if isinstance(theirs, list) else [theirs]
        if not several or not all(isinstance(one, str) and one for one in several):
            raise UserError(f"{path}: {name}: got {shown(theirs)}, expected a joint name or a list of joint names")
    return content


def map_joints(
    path: str | Path, capture: Capture, skeleton: Skeleton, custom: JointMap | None = None
) -> tuple[np.ndarray, np.ndarray, str]:
    """The joints of ``skeleton`` in a capture, by the joint map ``custom`` first: see ``matching.match_joints``.

    Returns:
        positions (T, J, 3), rest pose (J, 3), both in the file's units and axes, and one phrase that says how they
        were found and which joints were put where the file has none.

    Raises:
        UserError: there is no such body; the message lists the names in the file.
    """
    match = match_joints(path, capture, skeleton, custom)
    return match.positions(capture.positions), match.positions(capture.rest[None])[0], match.said
