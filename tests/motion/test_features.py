"""Features to joints: the round trip with a conversion written from the definition, and what is no motion."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.motion import read_motions
from m2t_fast.motion.features import FEATURE_SIZES, feature_size, recover_joints, why_implausible
from m2t_fast.motion.placement import place
from m2t_fast.skeleton import HUMANML3D, KIT, SKELETONS, Skeleton


def test_sizes() -> None:
    assert (feature_size(HUMANML3D), feature_size(KIT)) == (263, 251)
    assert {263: HUMANML3D, 251: KIT} == FEATURE_SIZES


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_round_trip(skeleton: Skeleton, motions: Callable, features_of: Callable) -> None:
    turned = 0.0
    for joints in motions(skeleton.joints):
        features = features_of(joints)
        recovered = recover_joints(features)
        assert recovered.shape == (len(joints) - 1, skeleton.joints, 3)
        expected = place(joints.astype(np.float64), skeleton)[:-1]
        expected[..., 1] = joints[:-1, :, 1]  # heights are those of the motion
        np.testing.assert_allclose(recovered, expected, atol=1e-5)
        turned = max(turned, abs(2 * features[:, 0].sum()))
    assert turned > 1.0  # somebody turns


def test_a_quarter_turn_by_hand() -> None:
    features = np.zeros((3, 263))
    features[:, 3] = 0.9
    features[:, 4:7] = 0.0, 0.8, 1.0  # joint 1 one metre in front of the root
    features[0, 0] = -np.pi / 4  # from frame 0 to 1 the heading turns left by twice that
    features[:, 1:3] = 0.0, 0.1  # and every step is forward, seen with the new heading
    joints = recover_joints(features)
    np.testing.assert_allclose(joints[0, :2], [[0, 0.9, 0], [0, 0.8, 1]], atol=1e-12)
    np.testing.assert_allclose(joints[1, :2], [[0.1, 0.9, 0], [1.1, 0.8, 0]], atol=1e-12)
    np.testing.assert_allclose(joints[2, :2], [[0.2, 0.9, 0], [1.2, 0.8, 0]], atol=1e-12)


def test_one_frame() -> None:
    features = np.zeros((1, 251))
    features[0, 3] = 0.9
    assert recover_joints(features)[0, 0].tolist() == [0.0, 0.9, 0.0]


@pytest.mark.parametrize("shape", [(4, 262), (263,), (1, 4, 263)])
def test_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"features: got shape .*, expected \(frames, 251 or 263\)"):
        recover_joints(np.zeros(shape))


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
@pytest.mark.parametrize("unit", [1.0, 640.0])
def test_normalised_features_are_told_from_true_ones(
    skeleton: Skeleton, unit: float, motions: Callable, features_of: Callable
) -> None:
    true = [features_of(joints) for joints in motions(skeleton.joints)]
    for features in true:
        features[:, 1 : 1 + 3 * skeleton.joints] *= unit
    rows = np.concatenate(true)
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    std[std == 0] = 1.0
    for features in true:
        assert why_implausible(recover_joints(features), skeleton, unit) is None
        noise = np.random.default_rng(0).normal(0, 0.01, features.shape) * [
            unit if 0 < i < 67 else 1 for i in range(len(mean))
        ]
        assert why_implausible(recover_joints(features + noise), skeleton, unit) is None  # a generator's
        normal = (features - mean) / std
        assert why_implausible(recover_joints(normal), skeleton, 1.0) is not None


def test_what_is_no_body(motions: Callable) -> None:
    joints = motions(22)[0].copy()
    assert re.fullmatch(r"a left thigh of 1\.\d m", why_implausible(joints * 3, HUMANML3D, 1.0) or "")
    assert why_implausible(joints * 3, HUMANML3D, 3.0) is None
    halved = joints.copy()
    halved[:, 20] = (joints[:, 18] + joints[:, 20]) / 2
    said = r"a left forearm of 0\.1\d* m and a right one of 0\.2\d* m"
    assert re.fullmatch(said, why_implausible(halved, HUMANML3D, 1.0) or "")
    growing = joints * np.linspace(0.7, 1.4, len(joints))[:, None, None]
    assert "limbs whose length changes by" in (why_implausible(growing, HUMANML3D, 1.0) or "")


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT])
def test_a_batch_of_features_is_one_motion_per_sample(
    skeleton: Skeleton, motions: Callable, features_of: Callable, tmp_path: Path
) -> None:
    features = [features_of(joints[:12]) for joints in motions(skeleton.joints)[:3]]
    np.save(tmp_path / "batch.npy", np.stack(features))
    found = read_motions(tmp_path / "batch.npy", skeleton)
    assert [one.label for one in found] == ["#0", "#1", "#2"]
    for one, sample in zip(found, features, strict=True):
        np.save(tmp_path / "alone.npy", sample)
        (alone,) = read_motions(tmp_path / "alone.npy", skeleton)
        np.testing.assert_array_equal(one.joints, alone.joints)
