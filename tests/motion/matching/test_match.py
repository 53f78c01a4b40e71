"""Bodies of random proportions in every naming scheme: each joint of ours is where it should be, left is left."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2t_fast.errors import UserError
from m2t_fast.motion import JOINT_NAMES, read_bvh, read_motions
from m2t_fast.motion.capture import Capture
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


UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "none": 0.37}


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6), up=st.sampled_from("yz"), bone_axes=st.booleans(), kit=st.booleans(),
    unit=st.sampled_from(list(UNITS)),
)  # fmt: skip
@pytest.mark.parametrize("scheme", zoo.SCHEMES)
def test_everybody_is_as_tall_as_people_are(
    scheme: str, seed: int, up: str, bone_axes: bool, kit: bool, unit: str, tmp_path: Path
) -> None:
    """Whatever the unit and the axes: 1.4 to 2.0 m from the floor to the crown, head up, left at the left."""
    skeleton = KIT if kit else HUMANML3D
    drawn = zoo.draw(tmp_path, scheme, seed, unit=UNITS[unit], up=up, bone_axes=bone_axes)
    (found,) = read_motions(drawn.path, skeleton)
    at = dict(zip(JOINT_NAMES[skeleton.name], np.moveaxis(found.joints.astype(np.float64), 1, 0), strict=True))

    def bone(one: str, other: str) -> float:
        return float(np.median(np.linalg.norm(at[one] - at[other], axis=1)))

    legs = np.mean([bone(f"{s}_hip", f"{s}_knee") + bone(f"{s}_knee", f"{s}_ankle") for s in ("left", "right")])
    # A head joint is about 0.15 m below the crown, an ankle 0.07 m above the floor, the pelvis 0.07 m above the hips.
    height = legs + bone("pelvis", "neck") + bone("neck", "head") + 0.15 + 0.07 + 0.07
    assert 1.4 <= height <= 2.0, found.notes
    assert np.median(at["head"][:, 1] - at["left_ankle"][:, 1]) > 1.0
    across, forward = at["left_hip"] - at["right_hip"], at["left_foot"] - at["left_ankle"]
    up_axis = np.array([0.0, 1.0, 0.0])
    assert np.median(np.einsum("ti,ti->t", np.cross(across, up_axis), forward)) > 0.0


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


def test_three_bones_of_a_trunk_are_the_spine_where_they_lie_like_one(tmp_path: Path) -> None:
    """MakeHuman's CMU rig: the first of three begins at the pelvis, and a spine1 there would be 0.15 m too low."""
    drawn = zoo.draw(tmp_path, "LaFAN1", 2)
    match = match_joints(drawn.path, read_bvh(drawn.path), HUMANML3D)
    assert "interpolated" not in match.said and match.to_map(read_bvh(drawn.path).names)["spine1"] == "Spine"
    sides, root, text = zoo.SCHEMES["LaFAN1"]
    low = {"LaFAN1": (sides, root, text.replace("@ s15", "@ s5").replace("@ s40", "@ s25").replace("@ s60", "@ s60"))}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(zoo, "SCHEMES", low)
        drawn = zoo.draw(tmp_path, "LaFAN1", 2)
    capture = read_bvh(drawn.path)
    match = match_joints(drawn.path, capture, HUMANML3D)
    assert "interpolated spine1, spine2, spine3" in match.said
    pelvis, spine1, neck = (match.positions(capture.positions)[:, n] for n in (0, 3, 12))
    share = np.linalg.norm(spine1 - pelvis, axis=1) / np.linalg.norm(neck - pelvis, axis=1)
    assert 0.2 < np.median(share) < 0.26


def test_a_dog_with_human_joint_names_is_no_human(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    human = zoo.places_of

    def dog(rng: np.random.Generator) -> dict[str, np.ndarray]:
        at = human(rng)
        for side, sign in (("L", 1), ("R", -1)):
            leg = np.linalg.norm(at[f"{side}hip"] - at[f"{side}ankle"])
            shares = {"elbow": 0.49, "wrist": 0.98, "thumb": 1.0, "knuckle": 1.05, "fingertip": 1.1}
            for place, share in shares.items():
                at[side + place] = at[f"{side}shoulder"] + [sign * share * leg, 0, 0]
        return at

    monkeypatch.setattr(zoo, "places_of", dog)
    drawn = zoo.draw(tmp_path, "Mixamo", 1)
    with pytest.raises(UserError, match=r"apparently not a human: arms as long as legs \(0.98 of them; of humans 0.55"):
        match_joints(drawn.path, read_bvh(drawn.path), HUMANML3D)


@pytest.mark.parametrize("shape", ["star", "deep", "binary"])
def test_hierarchies_of_many_joints_are_refused_soon(shape: str) -> None:
    count = 900
    above = {"star": lambda n: n - 1 if n % 3 != 1 else 0, "deep": lambda n: n - 1, "binary": lambda n: (n - 1) // 2}
    parents = (-1, *(above[shape](node) for node in range(1, count)))
    places = np.zeros((2, count, 3))
    for node in range(1, count):
        places[:, node] = places[:, parents[node]] + [1.0, 2.0, 3.0]
    capture = Capture(tuple(f"n{node}" for node in range(count)), parents, places, places[0], 0.1)
    with pytest.raises(UserError, match="no human body|not a human"):
        match_joints("m.bvh", capture, HUMANML3D)


def test_a_joint_map_fills_gaps_by_structure_and_leaves_no_joint_twice(tmp_path: Path) -> None:
    drawn = zoo.draw(tmp_path, "MakeHuman", 4)
    capture = read_bvh(drawn.path)
    match = match_joints(drawn.path, capture, HUMANML3D, {"head": "neck03"})
    assert match.to_map(capture.names)["head"] == "neck03" and match.to_map(capture.names)["left_ankle"] == "foot.L"
    assert match.said.startswith("joints by the joint map and MakeHuman joint names")
    with pytest.raises(UserError, match="neck01 would be both neck and head; name both in the joint map"):
        match_joints(drawn.path, capture, HUMANML3D, {"head": "neck01"})


@pytest.mark.parametrize("given", [("spine1",), ("spine3",), ("spine1", "spine2"), ("spine2", "spine3")])
def test_a_joint_map_of_a_part_of_the_spine_is_kept(tmp_path: Path, given: tuple[str, ...]) -> None:
    drawn = zoo.draw(tmp_path, "Mixamo", 4)
    capture = read_bvh(drawn.path)
    whole = match_joints(drawn.path, capture, HUMANML3D).to_map(capture.names)
    custom = {name: whole[name] for name in given}
    written = match_joints(drawn.path, capture, HUMANML3D, custom).to_map(capture.names)
    assert {name: written[name] for name in given} == custom


def test_a_joint_map_that_names_one_joint_twice_is_refused(tmp_path: Path) -> None:
    drawn = zoo.draw(tmp_path, "Mixamo", 4)
    capture = read_bvh(drawn.path)
    whole = match_joints(drawn.path, capture, HUMANML3D).to_map(capture.names)
    for part in (whole, {"left_ankle": whole["left_ankle"]}):
        with pytest.raises(UserError, match="both left_knee and left_ankle; give one of them another joint in the"):
            match_joints(drawn.path, capture, HUMANML3D, part | {"left_knee": whole["left_ankle"]})
