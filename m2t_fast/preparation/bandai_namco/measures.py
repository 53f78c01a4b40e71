"""What a motion shows, in numbers: turns, steps, how high and how often arms move, how far the trunk bends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2t_fast.motion.joint_names import JOINT_NAMES
from m2t_fast.preparation.bandai_namco.signals import peaks, smooth
from m2t_fast.preparation.bandai_namco.takes import FPS
from m2t_fast.skeleton import HUMANML3D

SIDES: tuple[str, str] = ("left", "right")
_INDEX = {name: index for index, name in enumerate(JOINT_NAMES[HUMANML3D.name])}

# Metres above the shoulder; all found on the data set's own takes.
_RESTING_WRIST = -0.44
HEIGHTS: dict[str, float] = {"above": 0.30, "head": 0.08, "shoulder": -0.12, "chest": -0.27}
"""Where a wrist is, by the height it goes beyond; below the last it is "low"."""

_ACTING, _HOLDING, _RESTING = 0.35, 0.85, 0.4  # shares of the way from rest to the highest
_SWINGS = 0.1  # metres of lift without which an arm does nothing
_STRIDE = 0.10  # metres that a foot must lead by to have taken a step
_STILL_FEET, _STILL_PATH = 0.12, 0.5  # metres
_TURN_BEGINS, _TURN_ENDS = 0.15, 0.85  # shares of the whole turn


@dataclass(frozen=True)
class Arm:
    """One arm: its wrist seen from its shoulder, in metres, up, ahead and outwards.

    ``top``: how high it goes. ``active``: the frames (first, after the last) in which it is up. ``cycles``: to and fro
    in these, ``rate`` per second, ``swing`` wide. ``rises``, ``lowers``: whether it begins and ends low. ``fastest``:
    metres per second. ``held``: seconds near the top; ``ahead``, ``outwards``: where it then is.
    """

    top: float
    active: tuple[int, int]
    cycles: int
    rate: float
    swing: float
    rises: bool
    lowers: bool
    fastest: float
    held: float
    ahead: float
    outwards: float

    @property
    def level(self) -> str:
        """A key of ``HEIGHTS``, or "low"."""
        return next((name for name, height in HEIGHTS.items() if self.top > height), "low")


@dataclass(frozen=True)
class Measures:
    """A motion: degrees turned to the left from its beginning to its end (``turn``) and between any two frames
    (``spin``); metres per second along its path (``speed``), ``forward`` and to the left (``leftward``) on average;
    ``straight``: share of the path that leads away; ``steps`` of either foot; ``trunk``: degrees that it bends at most;
    ``rises``: whether it is upright at the end; ``still``: whether the feet stay; ``arms`` by side."""

    turn: float
    spin: float
    speed: float
    forward: float
    leftward: float
    straight: float
    steps: int
    trunk: float
    upright_end: bool
    still: bool
    arms: dict[str, Arm]


def heading(joints: np.ndarray) -> np.ndarray:
    """(T,) angles in radians about Y at which the body (T, 22, 3) faces: 0 is +Z, positive to its left; unwrapped."""
    across = sum(joints[:, _INDEX[f"left_{part}"]] - joints[:, _INDEX[f"right_{part}"]] for part in ("hip", "shoulder"))
    return np.unwrap(np.arctan2(-across[:, 2], across[:, 0]))


def trunk_angle(joints: np.ndarray) -> np.ndarray:
    """(T,) degrees between the line from pelvis to neck and up."""
    trunk = joints[:, _INDEX["neck"]] - joints[:, _INDEX["pelvis"]]
    return np.degrees(np.arccos(np.clip(trunk[:, 1] / np.linalg.norm(trunk, axis=1), -1.0, 1.0)))


def wrist(joints: np.ndarray, side: str) -> np.ndarray:
    """(T, 3) wrist from its shoulder as the body sees it: to the left, up, ahead."""
    angle = smooth(heading(joints), 3)
    reach = joints[:, _INDEX[f"{side}_wrist"]] - joints[:, _INDEX[f"{side}_shoulder"]]
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.stack(
        [reach[:, 0] * cosine - reach[:, 2] * sine, reach[:, 1], reach[:, 0] * sine + reach[:, 2] * cosine], axis=1
    )


def measure_arm(joints: np.ndarray, side: str) -> Arm:
    """What one arm does in joints (T, 22, 3)."""
    reach = wrist(joints, side)
    height = reach[:, 1]
    top = float(np.percentile(height, 97))
    lift = max(top - _RESTING_WRIST, 0.01)
    up = np.flatnonzero(height > _RESTING_WRIST + _ACTING * lift) if lift > _SWINGS else np.array([], dtype=int)
    start, end = (int(up[0]), int(up[-1]) + 1) if len(up) else (0, len(height))
    cycles, swing = _cycles(reach[start:end])
    holding = height >= min(_RESTING_WRIST + _HOLDING * lift, height.max())
    held = reach[holding].mean(axis=0)
    speeds = np.linalg.norm(np.diff(reach, axis=0), axis=1) * FPS
    low = _RESTING_WRIST + _RESTING * lift
    return Arm(
        top=top,
        active=(start, end),
        cycles=cycles,
        rate=cycles * FPS / max(end - start, 1),
        swing=swing,
        rises=bool(height[:3].mean() < low),
        lowers=bool(height[-3:].mean() < low),
        fastest=float(np.percentile(speeds, 98)) if len(speeds) else 0.0,
        held=float(holding.sum() / FPS),
        ahead=float(held[2]),
        outwards=float(held[0] if side == "left" else -held[0]),
    )


def _cycles(reach: np.ndarray) -> tuple[int, float]:
    """How often a wrist (T, 3) goes to and fro along the line it moves along most, and how widely."""
    if len(reach) <= 10:
        return 0, 0.0
    quick = reach - smooth(reach, 12)
    quick = quick - quick.mean(axis=0)
    along = np.linalg.svd(quick, full_matrices=False)[2][0]
    swing = smooth(quick @ along, 1)
    return len(peaks(swing, prominence=0.05)), float(swing.std())


def measure(joints: np.ndarray) -> Measures:
    """What joints (T, 22, 3) show; T is at least 2."""
    angle = smooth(heading(joints), 2)
    ends = max(1, min(5, len(joints) // 4))
    ground = joints[:, 0][:, [0, 2]]
    velocity = np.diff(smooth(ground, 1), axis=0) * FPS
    ahead = np.stack([np.sin(angle), np.cos(angle)], axis=1)[:-1]
    left = np.stack([ahead[:, 1], -ahead[:, 0]], axis=1)
    path = float(np.linalg.norm(velocity, axis=1).sum() / FPS)
    trunk = trunk_angle(joints)
    feet = joints[:, [_INDEX["left_ankle"], _INDEX["right_ankle"]]][..., [0, 2]]
    lead = ((feet[:-1, 0] - feet[:-1, 1]) * ahead).sum(axis=1)
    leading = np.sign(lead[np.abs(lead) > _STRIDE])
    return Measures(
        turn=float(np.degrees(angle[-ends:].mean() - angle[:ends].mean())),
        spin=float(np.degrees(np.ptp(angle))),
        speed=path * FPS / len(joints),
        forward=float((velocity * ahead).sum(axis=1).mean()),
        leftward=float((velocity * left).sum(axis=1).mean()),
        straight=float(np.linalg.norm(ground[-1] - ground[0])) / max(path, 1e-6),
        steps=int(np.count_nonzero(np.diff(leading))) + (len(leading) > 0),
        trunk=float(trunk.max()),
        upright_end=bool(trunk[-3:].mean() < 0.5 * trunk.max() + 3.0),
        still=bool(np.ptp(feet, axis=0).max() < _STILL_FEET and path < _STILL_PATH),
        arms={side: measure_arm(joints, side) for side in SIDES},
    )


def turn_frames(joints: np.ndarray) -> tuple[int, int]:
    """The frames (first, after the last) between which most of a turn happens."""
    angle = smooth(heading(joints), 3)
    begin = angle[:5].mean()
    whole = angle[-5:].mean() - begin
    share = (angle - begin) / (whole if whole else 1.0)
    first = int(np.argmax(share > _TURN_BEGINS))
    return first, max(int(np.argmax(share > _TURN_ENDS)), first + 5)


def bend_frames(joints: np.ndarray) -> tuple[int, int]:
    """The frames (first, after the last) in which the trunk is bent by 0.3 of its largest bend."""
    trunk = trunk_angle(joints)
    bent = np.flatnonzero(trunk > trunk.min() + 0.3 * (trunk.max() - trunk.min()))
    return (int(bent[0]), int(bent[-1]) + 1) if len(bent) else (0, len(joints))


def punches(joints: np.ndarray) -> list[tuple[int, str]]:
    """(frame, side) of each time an arm is stretched out at about the height of the shoulder, in their order."""
    found = []
    for side in SIDES:
        reach = wrist(joints, side)
        stretched = peaks(np.pad(np.linalg.norm(reach, axis=1), 1), prominence=0.08, height=0.42, distance=6)
        frames = [min(max(place - 1, 0), len(reach) - 1) for place in stretched]
        found += [(frame, side) for frame in frames if abs(reach[frame, 1]) < 0.25]
    return sorted(found)


def kicking_side(joints: np.ndarray) -> str:
    """The side whose foot goes higher."""
    return max(SIDES, key=lambda side: joints[:, _INDEX[f"{side}_ankle"], 1].max())
