"""The kinematic body: rest bones of both skeletons and forward kinematics from pose channels to joint positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2t_fast.skeleton import Skeleton

CHANNELS: tuple[str, ...] = (
    "forward", "left", "turn",  # velocities in the body's own frame: m/s, m/s, rad/s (positive to the left)
    "air", "planted",  # metres the lowest joint is over the floor; 1 where the standing foot must not slide, else 0
    "pelvis_pitch", "pelvis_roll", "pelvis_twist",
    "spine_pitch", "spine_roll", "spine_twist",
    "head_pitch", "head_twist",
    "left_arm_flex", "left_arm_abduct", "left_arm_twist", "left_arm_elbow",
    "right_arm_flex", "right_arm_abduct", "right_arm_twist", "right_arm_elbow",
    "left_leg_flex", "left_leg_abduct", "left_leg_knee", "left_leg_toe",
    "right_leg_flex", "right_leg_abduct", "right_leg_knee", "right_leg_toe",
)  # fmt: skip
"""Rows of a pose track. Angles are radians; flex lifts a limb forward, abduct away from the body, twist outward;
pitch leans forward, positive roll leans to the right, positive twist of the trunk turns to the left."""

CHANNEL: dict[str, int] = {name: row for row, name in enumerate(CHANNELS)}

# Rotating frames with their parents. Legs hang from the heading, not the pelvis, so that a bow leaves them in place.
_FRAME_PARENT: dict[str, str] = {
    "heading": "",
    "pelvis": "heading", "left_thigh": "heading", "right_thigh": "heading",
    "spine_low": "pelvis", "left_shin": "left_thigh", "right_shin": "right_thigh",
    "spine_mid": "spine_low", "left_foot": "left_shin", "right_foot": "right_shin",
    "chest": "spine_mid",
    "head": "chest", "left_upper_arm": "chest", "right_upper_arm": "chest",
    "left_forearm": "left_upper_arm", "right_forearm": "right_upper_arm",
}  # fmt: skip
_FRAME: dict[str, int] = {name: row for row, name in enumerate(_FRAME_PARENT)}
_FOOT_SOFTNESS = 0.015  # metres of height difference over which the standing foot takes over
_FLIGHT_HEIGHT = 0.03  # metres over the floor at which feet no longer hold the body
_ANKLE_RANGE = 0.8  # radians the ankle can give to keep the sole level


def _frame_levels() -> tuple[tuple[list[int], list[int]], ...]:
    """Frames grouped by depth below the heading, each with its parents, so that one level is one array operation."""
    depth = {"heading": 0}
    for name, parent in _FRAME_PARENT.items():
        if parent:
            depth[name] = depth[parent] + 1
    levels = []
    for level in range(1, max(depth.values()) + 1):
        names = [name for name in _FRAME_PARENT if depth[name] == level]
        levels.append(([_FRAME[name] for name in names], [_FRAME[_FRAME_PARENT[name]] for name in names]))
    return tuple(levels)


_LEVELS = _frame_levels()


@dataclass(frozen=True)
class Rig:
    """Rest bones of a skeleton: joint j lies ``offsets[j]`` metres from ``parents[j]``, in the axes of ``frames[j]``.

    ``groups[j]`` is the bone's body group (0 trunk, 1 arms, 2 legs), which shares one scale in every subject.
    ``feet`` are the (ankle, toe) joints, left then right; ``leg`` the left (knee, ankle).
    """

    parents: tuple[int, ...]
    frames: np.ndarray
    offsets: np.ndarray
    groups: np.ndarray
    feet: tuple[tuple[int, int], tuple[int, int]]
    leg: tuple[int, int]


def _rig(rows: list[tuple[int, str, tuple[float, float, float]]], ankle: int, toe: int, step: int) -> Rig:
    """``step`` is the distance between the indices of a left leg joint and its right twin."""
    frames = [frame for _, frame, _ in rows]
    groups = [1 if "arm" in f else 2 if any(k in f for k in ("thigh", "shin", "foot")) else 0 for f in frames]
    return Rig(
        parents=tuple(parent for parent, _, _ in rows),
        frames=np.array([_FRAME[frame] for frame in frames]),
        offsets=np.array([offset for _, _, offset in rows]),
        groups=np.array(groups),
        feet=((ankle, toe), (ankle + step, toe + step)),
        leg=(rows[ankle][0], ankle),
    )


_RIGS: dict[int, Rig] = {
    22: _rig(
        [
            (-1, "pelvis", (0.0, 0.0, 0.0)),
            (0, "pelvis", (0.065, -0.085, 0.0)),
            (0, "pelvis", (-0.065, -0.085, 0.0)),
            (0, "pelvis", (0.0, 0.12, -0.02)),
            (1, "left_thigh", (0.015, -0.385, 0.0)),
            (2, "right_thigh", (-0.015, -0.385, 0.0)),
            (3, "spine_low", (0.0, 0.135, 0.01)),
            (4, "left_shin", (0.0, -0.42, -0.01)),
            (5, "right_shin", (0.0, -0.42, -0.01)),
            (6, "spine_mid", (0.0, 0.055, 0.01)),
            (7, "left_foot", (0.02, -0.045, 0.125)),
            (8, "right_foot", (-0.02, -0.045, 0.125)),
            (9, "chest", (0.0, 0.215, -0.015)),
            (9, "chest", (0.075, 0.115, -0.01)),
            (9, "chest", (-0.075, 0.115, -0.01)),
            (12, "head", (0.0, 0.085, 0.05)),
            (13, "chest", (0.125, 0.015, -0.01)),
            (14, "chest", (-0.125, 0.015, -0.01)),
            (16, "left_upper_arm", (0.0, -0.26, 0.0)),
            (17, "right_upper_arm", (0.0, -0.26, 0.0)),
            (18, "left_forearm", (0.0, -0.25, 0.0)),
            (19, "right_forearm", (0.0, -0.25, 0.0)),
        ],
        ankle=7,
        toe=10,
        step=1,
    ),
    21: _rig(
        [
            (-1, "pelvis", (0.0, 0.0, 0.0)),
            (0, "pelvis", (0.0, 0.07, -0.01)),
            (1, "spine_low", (0.0, 0.2, 0.0)),
            (2, "chest", (0.0, 0.25, 0.01)),
            (3, "head", (0.0, 0.14, 0.02)),
            (3, "chest", (0.18, -0.03, 0.0)),
            (5, "left_upper_arm", (0.0, -0.285, 0.0)),
            (6, "left_forearm", (0.0, -0.245, 0.0)),
            (3, "chest", (-0.18, -0.03, 0.0)),
            (8, "right_upper_arm", (0.0, -0.285, 0.0)),
            (9, "right_forearm", (0.0, -0.245, 0.0)),
            (0, "pelvis", (0.085, -0.04, 0.0)),
            (11, "left_thigh", (0.0, -0.41, 0.0)),
            (12, "left_shin", (0.0, -0.41, -0.01)),
            (13, "left_foot", (0.005, -0.05, 0.06)),
            (14, "left_foot", (0.015, -0.01, 0.085)),
            (0, "pelvis", (-0.085, -0.04, 0.0)),
            (16, "right_thigh", (0.0, -0.41, 0.0)),
            (17, "right_shin", (0.0, -0.41, -0.01)),
            (18, "right_foot", (-0.005, -0.05, 0.06)),
            (19, "right_foot", (-0.015, -0.01, 0.085)),
        ],
        ankle=13,
        toe=15,
        step=5,
    ),
}


def rig_of(skeleton: Skeleton) -> Rig:
    """The rest bones of a skeleton (21 or 22 joints)."""
    return _RIGS[skeleton.joints]


def subject_offsets(rig: Rig, scales: np.ndarray) -> np.ndarray:
    """Bones (J, 3) in metres of a subject with the given (3,) scales of trunk, arms and legs."""
    return rig.offsets * scales[rig.groups][:, None]


def leg_length(rig: Rig, offsets: np.ndarray) -> float:
    """Metres from hip to ankle of a subject."""
    return float(sum(np.linalg.norm(offsets[joint]) for joint in rig.leg))


def animate(rig: Rig, offsets: np.ndarray, tracks: np.ndarray, starts: np.ndarray, fps: float) -> np.ndarray:
    """Joint positions of several motions laid end to end.

    Args:
        rig: the skeleton's rest bones.
        offsets: (M, J, 3) bones in metres of each motion's subject.
        tracks: (len(CHANNELS), N) pose channels of all motions, N frames in total.
        starts: (M + 1,) first frame of each motion, then N.
        fps: frames per second.

    Returns:
        (N, J, 3) float32 positions in metres, Y up. A motion starts at x = z = 0 facing +Z (left is +X); in every
        frame the lowest joint is ``air`` metres over the floor, y = 0.
    """
    spans = [slice(a, b) for a, b in zip(starts[:-1], starts[1:], strict=True)]
    heading = np.empty(tracks.shape[1])
    for span in spans:
        heading[span] = np.cumsum(tracks[CHANNEL["turn"], span]) / fps
    heading -= np.repeat(heading[starts[:-1]], np.diff(starts))
    world = _world_rotations(tracks, heading)
    owner = np.repeat(np.arange(len(spans)), np.diff(starts))
    bones = offsets.transpose(2, 1, 0)[:, :, owner]
    body = world[:, 0, rig.frames] * bones[0]
    for axis in (1, 2):
        body += world[:, axis, rig.frames] * bones[axis]
    for joint, parent in enumerate(rig.parents):
        if parent >= 0:
            body[:, joint] += body[:, parent]
    steps = _root_steps(rig, body, tracks, heading, fps)
    steps[:, starts[:-1]] = 0.0
    for span in spans:
        body[::2, :, span] += np.cumsum(steps[:, span], axis=1)[:, None]
    body[1] += tracks[CHANNEL["air"]] - body[1].min(axis=0)
    return np.ascontiguousarray(body.transpose(2, 1, 0), dtype=np.float32)


def _world_rotations(tracks: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """Rotation matrices (3, 3, frames of reference, N): product of the local ones, Rz Rx Ry, down the tree."""
    x, y, z = angles = np.zeros((3, len(_FRAME), tracks.shape[1]))

    def channel(name: str) -> np.ndarray:
        return tracks[CHANNEL[name]]

    y[_FRAME["heading"]] = heading
    trunk = (("pelvis", "pelvis", 1.0), *((frame, "spine", 1 / 3) for frame in ("spine_low", "spine_mid", "chest")))
    for frame, group, share in trunk:
        x[_FRAME[frame]] = channel(f"{group}_pitch") * share
        y[_FRAME[frame]] = channel(f"{group}_twist") * share
        z[_FRAME[frame]] = channel(f"{group}_roll") * share
    x[_FRAME["head"]] = channel("head_pitch")
    y[_FRAME["head"]] = channel("head_twist")
    for side, mirror in (("left", 1.0), ("right", -1.0)):
        x[_FRAME[f"{side}_upper_arm"]] = -channel(f"{side}_arm_flex")
        y[_FRAME[f"{side}_upper_arm"]] = mirror * channel(f"{side}_arm_twist")
        z[_FRAME[f"{side}_upper_arm"]] = mirror * channel(f"{side}_arm_abduct")
        x[_FRAME[f"{side}_forearm"]] = -np.maximum(channel(f"{side}_arm_elbow"), 0.0)
        flex, knee = channel(f"{side}_leg_flex"), np.maximum(channel(f"{side}_leg_knee"), 0.0)
        x[_FRAME[f"{side}_thigh"]] = -flex
        z[_FRAME[f"{side}_thigh"]] = mirror * channel(f"{side}_leg_abduct")
        x[_FRAME[f"{side}_shin"]] = knee
        level = _ANKLE_RANGE * np.tanh((flex - knee) / _ANKLE_RANGE)
        x[_FRAME[f"{side}_foot"]] = level + channel(f"{side}_leg_toe")
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    local = np.empty((3, 3, *x.shape))
    local[0] = cy * cz - sy * sz * sx, -sz * cx, sy * cz + cy * sz * sx
    local[1] = cy * sz + sy * cz * sx, cz * cx, sy * sz - cy * cz * sx
    local[2] = -sy * cx, sx, cy * cx
    for frames, parents in _LEVELS:
        product = local[:, 0, parents][:, None] * local[0][:, frames]
        for axis in (1, 2):
            product += local[:, axis, parents][:, None] * local[axis][:, frames]
        local[:, :, frames] = product
    return local


def _root_steps(rig: Rig, body: np.ndarray, tracks: np.ndarray, heading: np.ndarray, fps: float) -> np.ndarray:
    """Horizontal (x, z) displacement (2, N) of the root into each frame, in metres.

    What the velocity channels ask for, minus what would make the standing foot slide.
    """
    forward, left = tracks[CHANNEL["forward"]] / fps, tracks[CHANNEL["left"]] / fps
    sine, cosine = np.sin(heading), np.cos(heading)
    steps = np.stack([forward * sine + left * cosine, forward * cosine - left * sine])
    (left_ankle, left_toe), (right_ankle, right_toe) = rig.feet
    gap = np.minimum(body[1, left_ankle], body[1, left_toe]) - np.minimum(body[1, right_ankle], body[1, right_toe])
    on_left = 0.5 - 0.5 * np.tanh(gap / (2 * _FOOT_SOFTNESS))
    hold = tracks[CHANNEL["planted"]] * np.exp(-tracks[CHANNEL["air"]] / _FLIGHT_HEIGHT)
    for ankle, toe, weight in ((left_ankle, left_toe, on_left * hold), (right_ankle, right_toe, (1 - on_left) * hold)):
        foot = (body[::2, ankle] + body[::2, toe]) / 2
        steps[:, 1:] -= np.diff(foot, axis=1) * (weight[1:] + weight[:-1]) / 2
    return steps
