"""Forward kinematics: rest pose, single joints bent by hand, headings, floor, mirror symmetry, batching."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2t_fast.data.synthetic.body import CHANNEL, CHANNELS, animate, leg_length, rig_of, subject_offsets
from m2t_fast.skeleton import SKELETONS, Skeleton, skeleton_of

LEFT_RIGHT = {22: ((16, 17), (18, 19), (20, 21)), 21: ((5, 8), (6, 9), (7, 10))}


def pose(skeleton: Skeleton, frames: int = 1, **channels: float | np.ndarray) -> np.ndarray:
    """Joints (frames, J, 3) of the average subject with the given channels set."""
    rig = rig_of(skeleton)
    tracks = np.zeros((len(CHANNELS), frames))
    for name, value in channels.items():
        tracks[CHANNEL[name]] = value
    return animate(rig, rig.offsets[None], tracks, np.array([0, frames]), skeleton.fps)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_rest_pose_stands_upright_with_hanging_arms(skeleton: Skeleton) -> None:
    joints = pose(skeleton)[0]
    assert joints[:, 1].min() == pytest.approx(0.0, abs=1e-6)
    assert 0.85 < joints[0, 1] < 1.0
    for shoulder, elbow, wrist in zip(*LEFT_RIGHT[skeleton.joints], strict=True):
        assert joints[shoulder, 1] > joints[elbow, 1] > joints[wrist, 1]
    left, right = LEFT_RIGHT[skeleton.joints][2]
    assert joints[left, 0] > 0.1
    assert joints[right] == pytest.approx(joints[left] * [-1, 1, 1], abs=1e-6)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
@pytest.mark.parametrize("side", [0, 1])
def test_arm_angles_point_where_they_say(skeleton: Skeleton, side: int) -> None:
    name, out = ("left", 1.0) if side == 0 else ("right", -1.0)
    shoulder, elbow, wrist = (pair[side] for pair in LEFT_RIGHT[skeleton.joints])
    quarter = math.pi / 2

    def directions(**angles: float) -> tuple[np.ndarray, np.ndarray]:
        joints = pose(skeleton, **{f"{name}_arm_{key}": value for key, value in angles.items()})[0]
        upper, fore = joints[elbow] - joints[shoulder], joints[wrist] - joints[elbow]
        return upper / np.linalg.norm(upper), fore / np.linalg.norm(fore)

    assert directions(flex=quarter)[0] == pytest.approx([0, 0, 1], abs=1e-6)
    assert directions(abduct=quarter)[0] == pytest.approx([out, 0, 0], abs=1e-6)
    assert directions(elbow=quarter)[1] == pytest.approx([0, 0, 1], abs=1e-6)
    assert directions(elbow=quarter, twist=quarter)[1] == pytest.approx([out, 0, 0], abs=1e-6)
    assert directions(abduct=quarter, twist=quarter, elbow=quarter)[1] == pytest.approx([0, 1, 0], abs=1e-6)
    assert directions(elbow=-0.5)[1] == pytest.approx([0, -1, 0], abs=1e-6), "an elbow does not bend backward"


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_forward_velocity_follows_the_heading(skeleton: Skeleton) -> None:
    seconds = 2.0
    frames = int(seconds * skeleton.fps) + 1
    ahead = pose(skeleton, frames, forward=1.5)
    assert ahead[-1, 0, ::2] == pytest.approx([0.0, 1.5 * seconds], abs=1e-5)
    turned = pose(skeleton, frames, turn=math.pi / 2 / seconds, forward=np.linspace(0, 1, frames) >= 1.0)
    assert turned[-1, 0, ::2] == pytest.approx([1.0 / skeleton.fps, 0.0], abs=1e-5), "a left turn leads to +X"


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_a_bent_knee_lowers_the_body_and_the_planted_feet_stay(skeleton: Skeleton) -> None:
    bend = np.linspace(0.0, 1.0, 20)
    angles = {f"{side}_leg_{name}": size * bend for side in ("left", "right") for name, size in
              (("flex", 0.5), ("knee", 1.4))}  # fmt: skip
    ankle, toe = rig_of(skeleton).feet[0]

    def slide(planted: float) -> float:
        joints = pose(skeleton, 20, planted=planted, **angles)
        assert joints[-1, 0, 1] < joints[0, 0, 1] - 0.1
        foot = (joints[:, ankle] + joints[:, toe]) / 2
        return float(np.abs(foot[-1] - foot[0])[[0, 2]].max())

    assert slide(1.0) < 1e-5
    assert slide(0.0) > 0.02


@settings(deadline=None, max_examples=25)
@given(
    joints=st.sampled_from([21, 22]),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_angles_keep_bones_floor_and_batches(joints: int, lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    skeleton = skeleton_of(joints)
    rig = rig_of(skeleton)
    bones = np.stack([subject_offsets(rig, rng.uniform(0.9, 1.1, 3)) for _ in lengths])
    starts = np.cumsum([0, *lengths])
    tracks = rng.normal(0.0, 1.0, (len(CHANNELS), starts[-1]))
    tracks[CHANNEL["air"]] = np.abs(tracks[CHANNEL["air"]])
    together = animate(rig, bones, tracks, starts, skeleton.fps)
    assert together.shape == (starts[-1], joints, 3)
    assert together.dtype == np.float32
    assert together[..., 1].min(axis=1) == pytest.approx(tracks[CHANNEL["air"]], abs=1e-5)
    for i, (begin, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        alone = animate(rig, bones[i : i + 1], tracks[:, begin:end], np.array([0, end - begin]), skeleton.fps)
        assert np.array_equal(alone, together[begin:end])
        for parent, child in skeleton.bones:
            length = np.linalg.norm(alone[:, child] - alone[:, parent], axis=-1)
            assert length == pytest.approx(np.linalg.norm(bones[i, child]), abs=1e-5)


def test_leg_length_is_thigh_plus_shin() -> None:
    rig = rig_of(skeleton_of(22))
    assert leg_length(rig, rig.offsets) == pytest.approx(
        np.linalg.norm(rig.offsets[4]) + np.linalg.norm(rig.offsets[7])
    )
