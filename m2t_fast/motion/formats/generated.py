"""What generators and data tools write: joints of one or many motions in several layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.skeleton import SKELETONS
from m2t_fast.wording import counted

RARE_COUNTS: tuple[int, ...] = (45, 73, 127, 144)
"""Joints of SMPL, SMPL-H and SMPL-X (without and with contours) with landmarks after them."""

SMPL_COUNTS: tuple[int, ...] = (24, 52, 55, *RARE_COUNTS)
"""Joints of SMPL, SMPL-H and SMPL-X, of which the first 22 are HumanML3D's."""

MOST_SAMPLES = 10_000
"""Motions that one file may hold."""

_JOINTS = tuple(skeleton.joints for skeleton in SKELETONS)
_NAMES = (
    "joints", "joints3d", "joints_3d", "keypoints3d", "keypoints_3d", "positions", "joint_positions",
    "jointPositions", "data",
)  # fmt: skip


def samples_of(array: np.ndarray) -> list[np.ndarray] | None:
    """The motions (T, J, 3) of an array that may be (T, J, 3), (N, T, J, 3) or (N, J, 3, T); None for other shapes.

    J is 21 or 22, or one of ``SMPL_COUNTS``, of which the first 22 are taken.
    """
    counts = (*_JOINTS, *SMPL_COUNTS)
    if array.ndim == 3 and array.shape[2] == 3 and array.shape[1] in counts:
        found = [array]
    elif array.ndim == 3 and array.shape[:2] in [(count, 3) for count in counts]:
        found = [array.transpose(2, 0, 1)]
    elif array.ndim == 4 and array.shape[3] == 3 and array.shape[2] in counts:
        found = list(array)
    elif array.ndim == 4 and array.shape[2] == 3 and array.shape[1] in counts:
        found = list(array.transpose(0, 3, 1, 2))
    else:
        return None
    if len(found) > MOST_SAMPLES:
        return None
    return [one[:, :22] if one.shape[1] in SMPL_COUNTS else one for one in found]


def with_axes(array: np.ndarray) -> np.ndarray:
    """(T, J, 3) of an array (T, 3 J) for the J of :func:`samples_of`; others as they are."""
    counts = (*_JOINTS, *SMPL_COUNTS)
    if array.ndim == 2 and array.shape[1] in [3 * count for count in counts]:
        return array.reshape(len(array), array.shape[1] // 3, 3)
    return array


def joints_in(content: dict[Any, Any]) -> Any:
    """The joints, or a list of them, that a dictionary holds under one of their names; None if there are none."""
    unnamed = [value for key, value in content.items() if str(key).startswith("arr_")]
    if unnamed and len(unnamed) == len(content):  # what np.savez calls arrays without a name
        return unnamed[0] if len(unnamed) == 1 else unnamed
    return next((content[name] for name in _NAMES if isinstance(content.get(name), np.ndarray | list)), None)


def results_of(path: str | Path, content: dict[Any, Any]) -> list[np.ndarray] | None:
    """The motions of MDM's ``results.npy``, a dictionary with ``motion`` and ``lengths``; None if it is something else.

    Raises:
        UserError: it is one, and its motions have no joints, or lengths that do not fit.
    """
    motion = content.get("motion", content.get("motions"))
    if not isinstance(motion, np.ndarray):
        return None
    found = samples_of(motion)
    if found is None and "thetas" in content:
        raise UserError(
            f"{path}: MDM's SMPL parameters, six numbers per joint, which are not read: give the results.npy they were "
            "made from"
        )
    if found is None:
        raise UserError(
            f"{path}: a generator's results whose motion has shape {motion.shape}, expected joints (N, 22, 3, T) or "
            "(N, T, 22, 3)"
        )
    lengths = content.get("lengths")
    if lengths is None:
        return found
    frames = np.asarray(lengths).reshape(-1)
    if len(frames) != len(found) or frames.dtype.kind not in "iu" or (frames < 1).any():
        raise UserError(
            f"{path}: {counted(len(found), 'motion')} but lengths {frames.tolist()[:6]}, expected frames of each"
        )
    return [one[: int(count)] for one, count in zip(found, frames, strict=True)]
