"""Joints by name: the four known skeletons for both of ours, spellings, joint maps and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.errors import UserError
from m2t_fast.motion import JOINT_NAMES, map_joints, read_bvh, read_joint_map
from m2t_fast.motion.joint_names import SCHEMES
from m2t_fast.skeleton import HUMANML3D, KIT, SKELETONS, Skeleton

SOURCES = [scheme.name for scheme in SCHEMES]
SIDED = {
    "Mixamo": "_Arm _ForeArm _Hand _UpLeg _Leg _Foot _ToeBase _Toe_End",
    "LaFAN1": "_Arm _ForeArm _Hand _UpLeg _Leg _Foot _Toe _Toe.end",
    "CMU": "_Arm _ForeArm _Hand _UpLeg _Leg _Foot _ToeBase _ToeBase.end",
    "Bandai-Namco": "UpperArm_ LowerArm_ Hand_ UpperLeg_ LowerLeg_ Foot_ Toes_ Toes_.end",
}
OURS = "shoulder elbow wrist hip knee ankle foot toe"


def expected_of(source: str) -> dict[str, str]:
    """Our name -> their name, written down once more."""
    names = {"pelvis": "Hips", "head": "Head", "neck": "Neck1" if source == "CMU" else "Neck"}
    if source in ("Mixamo", "LaFAN1"):
        names |= {"spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2"}
    if source == "Bandai-Namco":
        names |= {"spine1": "Spine", "spine2": "Spine+Chest", "spine3": "Chest"}
    for side in ("Left", "Right"):
        for ours, theirs in zip(OURS.split(), SIDED[source].split(), strict=True):
            letter = side[0] if source == "Bandai-Namco" else side
            names[f"{side.lower()}_{ours}"] = theirs.replace("_", f"_{letter}" if letter != side else letter, 1)
        if source != "CMU":
            names[f"{side.lower()}_collar"] = f"Shoulder_{side[0]}" if source == "Bandai-Namco" else f"{side}Shoulder"
    return names


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
@pytest.mark.parametrize("source", SOURCES)
def test_every_joint_of_the_known_skeletons(source: str, skeleton: Skeleton, make_bvh: Callable) -> None:
    path, nodes = make_bvh(source)
    bvh = read_bvh(path)
    joints, rest, said = map_joints(path, bvh, skeleton)
    assert joints.shape == (12, skeleton.joints, 3) and rest.shape == (skeleton.joints, 3)
    assert said.startswith(f"{source} joint names")
    theirs = expected_of(source)
    for index, name in enumerate(JOINT_NAMES[skeleton.name]):
        if name in theirs:
            expected = np.mean([nodes[one] for one in theirs[name].split("+")], axis=0)
            np.testing.assert_allclose(joints[:, index], expected, atol=1e-5, err_msg=name)
    made_up = [name for name in JOINT_NAMES[skeleton.name] if name not in theirs and "collar" not in name]
    assert said == f"{source} joint names" + (f", interpolated {', '.join(made_up)}" if made_up else "")
    if skeleton is HUMANML3D and source == "CMU":
        for side, index in (("Left", 13), ("Right", 14)):
            middle = (nodes[f"{side}Shoulder"] + nodes[f"{side}Arm"]) / 2
            np.testing.assert_allclose(joints[:, index], middle, atol=1e-5)


def test_the_interpolated_spine_lies_on_the_trunk(make_bvh: Callable) -> None:
    path, nodes = make_bvh("CMU")
    joints, _, said = map_joints(path, read_bvh(path), HUMANML3D)
    assert said.endswith("interpolated spine1, spine2, spine3")
    hips, spine, chest, neck = (nodes[name] for name in ("Hips", "Spine", "Spine1", "Neck1"))
    low, middle, high = 13.0, 170**0.5, 82**0.5  # lengths of these bones
    way = low + middle + high
    spine1 = hips + (spine - hips) * (0.23 * way / low)
    spine2 = spine + (chest - spine) * ((0.49 * way - low) / middle)
    spine3 = spine + (chest - spine) * ((0.59 * way - low) / middle)
    np.testing.assert_allclose(joints[:, [3, 6, 9]], np.stack([spine1, spine2, spine3], axis=1), atol=1e-4)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"mixamorig:{name}",
        lambda name: f"mixamorig1_{name}",
        lambda name: f"Model_{name}",
        lambda name: f"Character1:{name}",
        str.lower,
        str.upper,
        lambda name: name.replace("Left", "Left ").replace("Right", "Right "),
    ],
)
@pytest.mark.parametrize("source", ["Mixamo", "LaFAN1", "CMU"])
def test_prefixes_and_case(source: str, rename: Callable[[str], str], make_bvh: Callable) -> None:
    path, _ = make_bvh(source)
    plain, _, said = map_joints(path, read_bvh(path), KIT)
    other, _ = make_bvh(source, rename=rename, name="other.bvh")
    joints, _, said_of_other = map_joints(other, read_bvh(other), KIT)
    assert said_of_other == said
    np.testing.assert_array_equal(joints, plain)


def test_without_tips_the_toes_go_on(make_bvh: Callable) -> None:
    path, nodes = make_bvh("LaFAN1")
    text = path.read_text().replace("OFFSET 0.000000000 -1.000000000 7.000000000", "OFFSET 0 0 0")
    path.write_text(text)
    joints, _, said = map_joints(path, read_bvh(path), KIT)
    assert said.endswith("interpolated spine, chest, left_toe, right_toe")
    tip = nodes["LeftToe"] + (nodes["LeftToe"] - nodes["LeftFoot"]) / 2
    np.testing.assert_allclose(joints[:, 15], tip, atol=1e-5)


def test_a_missing_joint_is_named(make_bvh: Callable) -> None:
    path, _ = make_bvh("Mixamo", drop=("LeftForeArm", "LeftHand", "LeftHandIndex1"))
    with pytest.raises(UserError) as error:
        map_joints(path, read_bvh(path), HUMANML3D)
    message = str(error.value)
    assert f"{path}: Mixamo skeleton without a joint for left_elbow (LeftForeArm), left_wrist (LeftHand)" in message
    assert "it has Hips, Spine," in message and "--joint-map" in message


@pytest.mark.parametrize("source", SOURCES)
def test_names_that_say_nothing(source: str, make_bvh: Callable) -> None:
    path, nodes = make_bvh(source, rename=lambda name: f"{sum(map(ord, name)) * 7 % 1009:x}-{len(name)}")
    joints, _, said = map_joints(path, read_bvh(path), HUMANML3D)
    assert said.startswith("joints by hierarchy") and said.endswith("left and right by the feet")
    theirs = expected_of(source)
    for index, name in enumerate(JOINT_NAMES["humanml3d"]):
        if name in theirs and name not in ("neck", "spine1", "spine2", "spine3", "head"):
            np.testing.assert_allclose(joints[:, index], nodes[theirs[name]], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_a_joint_map_for_an_unknown_skeleton(skeleton: Skeleton, make_bvh: Callable, tmp_path: Path) -> None:
    def rename(name: str) -> str:
        return f"b{sum(map(ord, name)):x}{len(name)}"

    path, nodes = make_bvh("LaFAN1", rename=rename)
    theirs = expected_of("LaFAN1")
    wanted = {
        name: rename(theirs[name])
        for name in JOINT_NAMES[skeleton.name]
        if name in theirs and "collar" not in name and "toe" not in name
    }
    wanted["head"] = [rename("Head"), f"{rename('Head')}.end"]  # half way to the top
    file = tmp_path / "map.json"
    file.write_text(json.dumps(wanted))
    joints, _, said = map_joints(path, read_bvh(path), skeleton, read_joint_map(file, skeleton))
    assert said.startswith("joints by the joint map, interpolated ")
    at = dict(zip(JOINT_NAMES[skeleton.name], range(skeleton.joints), strict=True))
    for name in wanted:
        if name != "head":
            np.testing.assert_allclose(joints[:, at[name]], nodes[theirs[name]], atol=1e-5)
    np.testing.assert_allclose(joints[:, at["head"]], (nodes["Head"] + nodes["Head.end"]) / 2, atol=1e-5)
    if skeleton is KIT:  # the End Site of the foot
        np.testing.assert_allclose(joints[:, at["right_toe"]], nodes["RightToe.end"], atol=1e-5)
        spine = nodes["Hips"] + 0.13 * (nodes["Neck"] - nodes["Hips"])
        np.testing.assert_allclose(joints[:, at["spine"]], spine, atol=1e-5)
    else:
        collar = 0.6 * nodes["Neck"] + 0.4 * nodes["LeftArm"]
        np.testing.assert_allclose(joints[:, at["left_collar"]], collar, atol=1e-5)


def test_a_joint_map_comes_before_the_known_names(make_bvh: Callable) -> None:
    path, nodes = make_bvh("CMU")
    joints, _, said = map_joints(path, read_bvh(path), HUMANML3D, {"head": "Head.end", "neck": ["Neck1", "Head"]})
    assert said.startswith("joints by the joint map and CMU joint names")
    np.testing.assert_allclose(joints[:, 15], nodes["Head.end"], atol=1e-5)
    np.testing.assert_allclose(joints[:, 12], (nodes["Neck1"] + nodes["Head"]) / 2, atol=1e-5)
    np.testing.assert_allclose(joints[:, 0], nodes["Hips"], atol=1e-5)


def test_a_joint_map_that_names_no_joint_of_the_file(make_bvh: Callable) -> None:
    path, _ = make_bvh("Mixamo")
    with pytest.raises(UserError, match="no joint 'LeftHnad', which the joint map names for left_wrist; did you mean"):
        map_joints(path, read_bvh(path), KIT, {"left_wrist": "LeftHnad"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "got a JSON list"),
        ('{"tail": "Hips"}', "unknown joint 'tail', expected some of pelvis, left_hip"),
        ('{"left_toe": "LeftToe"}', "unknown joint 'left_toe'"),  # a joint of the other skeleton
        ('{"pelvis": 3}', "pelvis: got 3, expected a joint name or a list"),
        ('{"pelvis": []}', "pelvis: got []"),
        ('{"pelvis": ["Hips", null]}', "pelvis: got"),
    ],
)
def test_bad_joint_maps(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "map.json"
    file.write_text(content)
    with pytest.raises(UserError) as error:
        read_joint_map(file, HUMANML3D)
    assert str(file) in str(error.value) and message in str(error.value)


def test_a_missing_joint_map(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_joint_map(tmp_path / "none.json", KIT)
