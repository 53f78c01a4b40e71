"""Bodies of random proportions in every naming scheme: each joint of ours is where it should be, left is left."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2t_fast.motion import JOINT_NAMES, read_bvh
from m2t_fast.motion.matching import match_joints
from m2t_fast.skeleton import HUMANML3D, KIT, Skeleton

_spec = importlib.util.spec_from_file_location("motion_zoo", Path(__file__).with_name("zoo.py"))
assert _spec and _spec.loader
zoo = sys.modules.setdefault("motion_zoo", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(zoo)

PLACES = {"hip": "hip", "knee": "knee", "ankle": "ankle", "foot": "ball", "shoulder": "shoulder", "elbow": "elbow"}
PLACES |= {"wrist": "wrist", "collar": "collar", "toe": "tip"}


def expected(drawn: zoo.Drawn, name: str) -> np.ndarray | None:
    """Where a joint of ours must be, by the places of the body; None where the scheme has no such joint."""
    side, _, rest = name.partition("_")
    place = {"left": "L", "right": "R"}[side] + PLACES[rest] if side in ("left", "right") else name
    if place == "pelvis":
        return next(drawn.nodes[joint.name] for joint in drawn.joints if joint.place == "pelvis")
    named = [joint.name for joint in drawn.joints if joint.place == place and "ik_" not in joint.name]
    if named:
        return drawn.nodes[named[0]]
    if place[1:] == "ball":
        ankle = next(joint.name for joint in drawn.joints if joint.place == f"{place[0]}ankle")
        return drawn.nodes[f"{ankle}.end"]
    return None


def check(drawn: zoo.Drawn, skeleton: Skeleton, unit: float, up: str) -> str:
    capture = read_bvh(drawn.path)
    match = match_joints(drawn.path, capture, skeleton)
    joints = match.positions(capture.positions) * unit
    if up == "z":
        joints = np.stack([joints[..., 0], joints[..., 2], -joints[..., 1]], axis=-1)
    for index, name in enumerate(JOINT_NAMES[skeleton.name]):
        right = expected(drawn, name)
        if right is not None:
            np.testing.assert_allclose(joints[:, index], right, atol=2e-4, err_msg=name)
    return match.said


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), up=st.sampled_from("yz"), bone_axes=st.booleans(), kit=st.booleans())
@pytest.mark.parametrize("scheme", zoo.SCHEMES)
def test_every_scheme(scheme: str, seed: int, up: str, bone_axes: bool, kit: bool, tmp_path: Path) -> None:
    drawn = zoo.draw(tmp_path, scheme, seed, up=up, bone_axes=bone_axes)
    said = check(drawn, KIT if kit else HUMANML3D, 0.01, up)
    assert "by the feet" not in said and "mirrored" not in said


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), bone_axes=st.booleans())
@pytest.mark.parametrize(
    "scheme", ["Mixamo", "CMU, 3dsMax-friendly", "Xsens MVN", "Poser", "3ds Max Biped", "SMPL", "Axis"]
)
def test_numbers_for_names(scheme: str, seed: int, bone_axes: bool, tmp_path: Path) -> None:
    rename = {joint.name: f"joint_{number}" for number, joint in enumerate(zoo.joints_of(scheme))}
    drawn = zoo.draw(tmp_path, scheme, seed, bone_axes=bone_axes, rename=rename)
    capture = read_bvh(drawn.path)
    match = match_joints(drawn.path, capture, HUMANML3D)
    joints = match.positions(capture.positions) * 0.01
    assert "left and right by the feet" in match.said
    for index, name in enumerate(JOINT_NAMES["humanml3d"]):
        if name.split("_")[-1] in ("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist") or name == "pelvis":
            np.testing.assert_allclose(joints[:, index], expected(drawn, name), atol=2e-4, err_msg=name)
