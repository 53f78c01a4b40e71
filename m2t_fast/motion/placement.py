"""Units, up axis and start of a motion: places any skeleton like the training data."""

from __future__ import annotations

import math

import numpy as np

from m2t_fast.motion.joint_names import JOINT_NAMES
from m2t_fast.skeleton import Skeleton

METRES: dict[str, float] = {
    "m": 1.0,
    "cm": 0.01,
    "mm": 0.001,
    "in": 0.0254,
    "ft": 0.3048,
    "cmu": 0.0254 / 0.45,
    "kit": 0.75 / 480,
}
"""Metres in a unit. ``cmu``: the CMU database writes inches times 0.45. ``kit``: KIT-ML as distributed in HumanML3D's
layout has the MMM model's unit, of which 480 are 0.75 m of an SMPL body."""

UPS: tuple[str, ...] = ("y", "z", "-y", "-z", "x", "-x")
"""Axes that may point up."""

GUESSED: tuple[str, ...] = ("m", "cm", "mm", "in", "cmu")
"""Units that are told apart by the body's size; the others must be named."""

USUAL_LEG = 0.82
"""Metres from hip over knee to ankle of HumanML3D's body (0.826) and of most adults (0.75 to 0.95)."""

_POSSIBLE_LEG = (0.5, 1.2)  # metres; children of five years to very tall adults
_RARE_LEG = {"in": (0.67, 1.0), "cmu": (0.67, 1.0)}  # of adults: units so rare that it is rather an unknown one
_LEG_OF_HEIGHT = 0.48  # hip to ankle, as a share of the body's height
_UPRIGHT, _LONGER = 4.0, 2.0  # times the body is longer along up than along the other axis: standing, and any hint
_LEVEL, _TRAVELS = 0.2, 1.0  # legs that the lowest joint moves along up, and along the way it goes
_NEARLY_ALWAYS = 0.9  # share of the frames
_FLOOR = 0.05  # metres that feet may be under the floor
_SIDEWAYS = 0.3  # share of the line from right to left that must be level to tell the facing


def leg_lengths(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(T,) lengths hip to knee to ankle in the unit of ``joints`` (T, J, 3), mean of both legs."""
    hips, knees, ankles = (joints[:, _both(skeleton, name)].astype(np.float64) for name in ("hip", "knee", "ankle"))
    lengths = np.linalg.norm(hips - knees, axis=2) + np.linalg.norm(knees - ankles, axis=2)
    return lengths.mean(axis=1)


def guess_unit(joints: np.ndarray, skeleton: Skeleton, units: tuple[str, ...] = GUESSED) -> tuple[float, str]:
    """Metres per unit of joint positions (T, J, 3), guessed from the legs, and one phrase that says so.

    Where no unit of ``units`` gives legs of a possible length, the body is scaled to legs of :data:`USUAL_LEG`.
    """
    leg = float(np.median(leg_lengths(joints, skeleton)))
    if leg <= 0 or not math.isfinite(leg):
        return 1.0, "unit m (the legs have no length)"
    unit = min(units, key=lambda name: abs(math.log(leg * METRES[name] / USUAL_LEG)))
    metres = METRES[unit]
    least, most = _RARE_LEG.get(unit, _POSSIBLE_LEG)
    if least <= leg * metres <= most:
        return metres, f"unit {unit} (a body of about {leg * metres / _LEG_OF_HEIGHT:.2f} m)"
    return USUAL_LEG / leg, f"unit unknown: legs of {leg:.3g} scaled to {USUAL_LEG} m (--units gives the unit)"


def scale_to_body(joints: np.ndarray, skeleton: Skeleton) -> tuple[float, str]:
    """Metres per unit of joint positions (T, J, 3) if the legs are of :data:`USUAL_LEG`, and a phrase."""
    leg = float(np.median(leg_lengths(joints, skeleton)))
    if leg <= 0 or not math.isfinite(leg):
        return 1.0, "unit m (the legs have no length)"
    return USUAL_LEG / leg, f"legs of {leg:.3g} scaled to {USUAL_LEG} m (--units body)"


def guess_up(joints: np.ndarray, rest: np.ndarray, skeleton: Skeleton) -> tuple[str, str]:
    """The axis that points up, "y" or "z", of joint positions (T, J, 3), and one phrase that says so.

    It is the axis along which the body, from the feet to the head, is by far the longer over the frames. For someone
    who crawls it is the axis along which the lowest joint stays level while it travels along the other. Otherwise it
    is again the axis along which the body is longer, in the frames or, failing that, in the rest pose ``rest``
    (J, 3). A body that stands along X, in the frames and in the rest pose, has "x" or "-x" up.
    """
    along_x = _stands_along_x(joints, skeleton)
    if along_x and along_x == _stands_along_x(rest[None], skeleton):
        return along_x, f"{along_x.upper()} up"
    axis, ratio = _longer_axis(joints, skeleton)
    if ratio >= _UPRIGHT:
        return axis, f"{axis.upper()} up"
    lowest = joints.astype(np.float64)[..., 1:].min(axis=1)
    travel = np.subtract(*np.percentile(lowest, (95, 5), axis=0)) / max(np.median(leg_lengths(joints, skeleton)), 1e-30)
    if travel.min() < _LEVEL and travel.max() > _TRAVELS:
        axis = "yz"[int(travel.argmin())]
        return axis, f"{axis.upper()} up by the floor"
    if ratio >= _LONGER:
        return axis, f"{axis.upper()} up"
    axis, ratio = _longer_axis(rest[None], skeleton)
    if ratio >= _LONGER:
        return axis, f"{axis.upper()} up by the rest pose"
    hint = f"; it lies along X: --up {along_x}?" if along_x else "; --up tells"
    return "y", f"Y up (not clear from the body{hint})"


def upside_down(joints: np.ndarray, skeleton: Skeleton) -> bool:
    """Whether the head is well below the ankles in nearly all frames of positions (T, J, 3), Y up."""
    body = _feet_to_head(joints, skeleton)
    below = body[:, 1] < -0.5 * np.linalg.norm(body, axis=1)
    return len(joints) > 0 and float(below.mean()) > _NEARLY_ALWAYS


def stands_along_z(joints: np.ndarray, skeleton: Skeleton) -> bool:
    """Whether positions (T, J, 3) in metres look like Z up: the body stands along Z on z = 0, y = 0 is no floor."""
    axis, ratio = _longer_axis(joints, skeleton)
    return axis == "z" and ratio >= _UPRIGHT and joints[..., 2].min() > -_FLOOR and joints[..., 1].min() < -_FLOOR


def _feet_to_head(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    joints = joints.astype(np.float64)
    return joints[:, JOINT_NAMES[skeleton.name].index("head")] - joints[:, _both(skeleton, "ankle")].mean(axis=1)


def _longer_axis(joints: np.ndarray, skeleton: Skeleton) -> tuple[str, float]:
    """The one of Y and Z along which the body (T, J, 3) is longer from the feet to the head, and how many times."""
    body = _feet_to_head(joints, skeleton)
    y, z = np.abs(body[:, 1]).sum(), np.abs(body[:, 2]).sum()
    longer, other = max(y, z), min(y, z)
    return "y" if y >= z else "z", math.inf if 0 < longer >= 1e6 * other else longer / other if other > 0 else 1.0


def _stands_along_x(joints: np.ndarray, skeleton: Skeleton) -> str | None:
    """ "x" or "-x" where the body (T, J, 3) is by far the longest along X, by where the head is; else None."""
    body = _feet_to_head(joints, skeleton)
    x, y, z = np.abs(body).sum(axis=0)
    if x == 0 or x < _UPRIGHT * max(y, z):
        return None
    return "x" if body[:, 0].sum() > 0 else "-x"


def to_y_up(joints: np.ndarray, up: str) -> np.ndarray:
    """Positions (..., 3) turned so that ``up`` (one of :data:`UPS`) becomes Y; a rotation, so left stays left.

    Raises:
        ValueError: another axis.
    """
    if up not in UPS:
        raise ValueError(f"up: got {up!r}, expected one of {', '.join(UPS)}")
    x, y, z = joints[..., 0], joints[..., 1], joints[..., 2]
    turned = {"z": (x, z, -y), "-z": (x, -z, y), "-y": (x, -y, -z), "x": (-y, x, z), "-x": (y, -x, z)}
    return joints if up == "y" else np.stack(turned[up], axis=-1)


def place(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Positions (T, J, 3), Y up, as HumanML3D places its ``new_joints``.

    The lowest joint of all frames is at y = 0, the root starts at x = z = 0, and the first frame faces +Z (left is
    +X). A body lying on its side does not show where it faces: the first frame that does counts; without one there is
    no turn.
    """
    moved = joints - joints[0, 0]
    placed = turned(moved, facing(joints, skeleton) or 0.0)
    placed[..., 1] -= placed[..., 1].min()
    return placed


def facing(joints: np.ndarray, skeleton: Skeleton) -> float | None:
    """The turn about Y, in radians, after which the first frame of (T, J, 3) with a clear facing faces +Z, or None."""
    angles = facings(joints, skeleton)
    telling = np.isfinite(angles)
    return float(angles[telling.argmax()]) if telling.any() else None


def facings(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(T,) for every frame the turn about Y, in radians, after which it faces +Z; NaN where lying hides the facing."""
    left, right = (
        joints[:, _one_side(skeleton, side, "hip")] + joints[:, _one_side(skeleton, side, "shoulder")]
        for side in ("left", "right")
    )
    across = left - right
    level = np.hypot(across[:, 0], across[:, 2])
    # A turn by this angle brings the line from right to left to +X.
    angles = np.arctan2(across[:, 2], across[:, 0])
    return np.where(level > _SIDEWAYS * np.linalg.norm(across, axis=1), angles, np.nan)


def turned(joints: np.ndarray, angle: float) -> np.ndarray:
    """Positions (..., 3) turned about Y by ``angle`` in radians, +Z towards +X being positive."""
    sine, cosine = math.sin(angle), math.cos(angle)
    x, z = joints[..., 0], joints[..., 2]
    return np.stack([cosine * x + sine * z, joints[..., 1], cosine * z - sine * x], axis=-1)


def _one_side(skeleton: Skeleton, side: str, name: str) -> int:
    return JOINT_NAMES[skeleton.name].index(f"{side}_{name}")


def _both(skeleton: Skeleton, name: str) -> list[int]:
    return [_one_side(skeleton, side, name) for side in ("left", "right")]
