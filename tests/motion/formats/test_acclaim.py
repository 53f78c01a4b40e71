"""Acclaim files: a kinematics written down once more, CMU's missing trunk bone, and files that are no such files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2t_fast.errors import UserError
from m2t_fast.motion import MotionOptions, read_bvh, read_motion
from m2t_fast.motion.formats.acclaim import read_amc
from m2t_fast.skeleton import HUMANML3D

# Bone, parent, direction, length (inches times 0.45): CMU's names on a body of our own.
BONES = [
    ("lhipjoint", "root", (0.64, -0.70, 0.3), 2.4), ("lfemur", "lhipjoint", (0.34, -0.94, 0), 7.3),
    ("ltibia", "lfemur", (0.34, -0.94, 0), 7.4), ("lfoot", "ltibia", (0, -0.3, 0.95), 2.3),
    ("ltoes", "lfoot", (0, 0, 1), 1.1), ("lowerback", "root", (0.01, 1, -0.05), 2.0),
    ("upperback", "lowerback", (0, 1, 0.01), 2.1), ("thorax", "upperback", (0, 1, 0.04), 2.06),
    ("lowerneck", "thorax", (0, 1, 0.1), 1.6), ("upperneck", "lowerneck", (0, 1, -0.1), 1.6),
    ("head", "upperneck", (0, 1, 0), 1.7), ("lclavicle", "thorax", (0.95, 0.3, 0), 3.4),
    ("lhumerus", "lclavicle", (1, 0, 0), 4.9), ("lradius", "lhumerus", (1, 0, 0), 3.5),
    ("lwrist", "lradius", (1, 0, 0), 1.7), ("lhand", "lwrist", (1, 0, 0), 0.7),
]  # fmt: skip
BVH_NAMES = {
    "root": "Hips", "lhipjoint": "LHipJoint", "lfemur": "LeftUpLeg", "ltibia": "LeftLeg", "lfoot": "LeftFoot",
    "ltoes": "LeftToeBase", "lowerback": "LowerBack", "upperback": "Spine", "thorax": "Spine1", "lowerneck": "Neck",
    "upperneck": "Neck1", "head": "Head", "lclavicle": "LeftShoulder", "lhumerus": "LeftArm", "lradius": "LeftForeArm",
    "lwrist": "LeftHand", "lhand": "LeftFingerBase",
}  # fmt: skip


def both_sides() -> list[tuple[str, str, np.ndarray, float]]:
    found = []
    for name, parent, direction, length in BONES:
        vector = np.array(direction) / np.linalg.norm(direction)
        found.append((name, parent, vector, length))
        if name.startswith("l") and not name.startswith("lower"):
            other = "r" + parent[1:] if parent.startswith("l") and not parent.startswith("lower") else parent
            found.append(("r" + name[1:], other, vector * [-1, 1, 1], length))
    return found


def turn(axis: str, degrees: float) -> np.ndarray:
    unit = np.eye(3)["xyz".index(axis)]
    cross = np.array([[0, -unit[2], unit[1]], [unit[2], 0, -unit[0]], [-unit[1], unit[0], 0]])
    return np.eye(3) + np.sin(np.radians(degrees)) * cross + (1 - np.cos(np.radians(degrees))) * cross @ cross


def write(folder: Path, seed: int, frames: int = 9, axes: bool = True) -> dict[str, np.ndarray]:
    """Writes 01.asf and 01_02.amc; where every bone begins, (T, 3) by its name, and the values written."""
    rng = np.random.default_rng(seed)
    bones = both_sides()
    axis = {name: rng.uniform(-180, 180, 3) if axes else np.zeros(3) for name, *_ in bones}
    still = ("lhipjoint", "rhipjoint", "lhand", "rhand")
    dofs = {name: [] if name in still else ["rx"] if "tibia" in name else ["rx", "ry", "rz"] for name, *_ in bones}
    asf = ["# comment", ":version 1.10", ":name VICON", ":units", "  mass 1.0", "  length 0.45", "  angle deg"]
    asf += [":documentation", "  any text", ":root", "  order TX TY TZ RX RY RZ", "  axis XYZ", "  position 0 0 0"]
    asf += ["  orientation 0 0 0", ":bonedata"]
    for number, (name, _, direction, length) in enumerate(bones):
        asf += ["  begin", f"    id {number}", f"    name {name}", f"    direction {' '.join(map(str, direction))}"]
        asf += [f"    length {length}", f"    axis {' '.join(map(str, axis[name]))} XYZ"]
        if dofs[name]:
            asf += [
                f"    dof {' '.join(dofs[name])}",
                "    limits (-90 90)",
                *["           (-9 9)"] * (len(dofs[name]) - 1),
            ]
        asf += ["  end"]
    asf += [":hierarchy", "  begin"]
    for parent in ["root", *(name for name, *_ in bones)]:
        below = [name for name, above, *_ in bones if above == parent]
        asf += [f"    {parent} {' '.join(below)}"] if below else []
    asf += ["  end"]
    (folder / "01.asf").write_text("\n".join(asf))
    amc = ["#!OML:ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    found: dict[str, list[np.ndarray]] = {}
    for frame in range(frames):
        root = np.concatenate([[3 + 0.3 * frame, 17, -5], rng.uniform(-20, 20, 3)])
        amc += [str(frame + 1), "root " + " ".join(map(str, root))]
        world = {"root": turn("z", root[5]) @ turn("y", root[4]) @ turn("x", root[3])}
        begins, ends = {"root": root[:3]}, {"root": root[:3]}
        for name, parent, direction, length in bones:
            swing = 15 * np.sin(frame / 3 + np.arange(3)) * rng.uniform(0.8, 1.2, len(axis[name]))
            values = dict(zip(dofs[name], swing, strict=False))
            if values:
                amc.append(f"{name} " + " ".join(str(value) for value in values.values()))
            own = np.eye(3)
            for dof, value in values.items():
                own = turn(dof[1], value) @ own
            frame_of = turn("z", axis[name][2]) @ turn("y", axis[name][1]) @ turn("x", axis[name][0])
            world[name] = world[parent] @ frame_of @ own @ frame_of.T
            begins[name] = ends[parent]
            ends[name] = begins[name] + world[name] @ direction * length
            found.setdefault(f"{name}.end", []).append(ends[name])
        for name, where in begins.items():
            found.setdefault(name, []).append(where)
    (folder / "01_02.amc").write_text("\n".join(amc))
    return {name: np.stack(places) for name, places in found.items()}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_kinematics(seed: int, tmp_path: Path) -> None:
    expected = write(tmp_path, seed)
    capture = read_amc(tmp_path / "01_02.amc")
    assert capture.names[0] == "root" and "ltoes.end" in capture.names and "lfemur.end" not in capture.names
    for index, name in enumerate(capture.names):
        np.testing.assert_allclose(capture.positions[:, index], expected[name], atol=1e-9, err_msg=name)


def test_as_a_motion(tmp_path: Path) -> None:
    expected = write(tmp_path, 3, frames=30)
    joints, notes = read_motion(tmp_path / "01_02.amc", HUMANML3D)
    assert len(joints) == 5 and notes[1].startswith("CMU joint names") and "skeleton 01.asf" in notes
    assert any(note.startswith("unit cmu (a body of about 1.") for note in notes)
    assert any("120 frames per second assumed" in note for note in notes)
    thigh = np.linalg.norm(expected["lfemur"][0] - expected["ltibia"][0]) * 0.0254 / 0.45
    assert np.linalg.norm(joints[0, 1] - joints[0, 4]) == pytest.approx(thigh, abs=1e-4)
    _, notes = read_motion(tmp_path / "01_02.amc", HUMANML3D, MotionOptions(fps=60.0))
    assert "60 frames per second (--fps)" in notes and not any("120" in note for note in notes)


def test_the_trunk_bone_that_cmus_bvh_lack_is_put_back(tmp_path: Path) -> None:
    """The same motion as a conversion writes it: neck and collars begin where the thorax begins, not where it ends."""
    write(tmp_path, 5, axes=False)
    exact = read_amc(tmp_path / "01_02.amc")
    bones = both_sides()
    offset = {name: direction * length for name, _, direction, length in bones}
    parents = {name: parent for name, parent, *_ in bones}
    lines, order = ["HIERARCHY"], []

    def name_of(bone: str) -> str:
        mirrored = bone not in BVH_NAMES
        name = BVH_NAMES["l" + bone[1:]] if mirrored else BVH_NAMES[bone]
        return name.replace("Left", "Right").replace("LHip", "RHip") if mirrored else name

    def joint(bone: str, kind: str) -> None:
        parent = parents.get(bone)
        vector = np.zeros(3) if parent in (None, "root", "thorax") else offset[parent]
        lines.extend([f"{kind} {name_of(bone)}", "{", f"OFFSET {' '.join(map(str, vector))}"])
        channels = "Xposition Yposition Zposition " if bone == "root" else ""
        lines.append(f"CHANNELS {6 if bone == 'root' else 3} {channels}Zrotation Yrotation Xrotation")
        order.append(bone)
        below = [name for name, above in parents.items() if above == bone]
        for child in below:
            joint(child, "JOINT")
        if not below:
            lines.extend(["End Site", "{", f"OFFSET {' '.join(map(str, offset[bone]))}", "}"])
        lines.append("}")

    joint("root", "ROOT")
    rows, frame = [], {}
    for line in [*(tmp_path / "01_02.amc").read_text().splitlines()[3:], "0"]:
        name, *values = line.split()
        if not values:
            if frame:
                rows.append(frame)
            frame = {}
        else:
            frame[name] = [float(value) for value in values]
    lines += ["MOTION", f"Frames: {len(rows)}", "Frame Time: 0.0083333"]
    for row in rows:
        values = []
        for bone in order:
            turned = row.get(bone, [])
            if bone == "root":
                values += turned[:3]
                turned = turned[3:]
            values += [*turned, 0.0, 0.0, 0.0][:3][::-1]
        lines.append(" ".join(map(str, values)))
    path = tmp_path / "01_02.bvh"
    path.write_text("\n".join(lines))
    at = {name: index for index, name in enumerate(exact.names)}
    for mend, least, most in ((False, 2.0, 2.2), (True, 0.0, 0.15)):  # units of 5.6 cm
        capture = read_bvh(path, mend=mend)
        for theirs, ours in (("LeftArm", "lhumerus"), ("Head", "head"), ("RightHand", "rwrist")):
            off = capture.positions[:, capture.names.index(theirs)] - exact.positions[:, at[ours]]
            assert least <= np.linalg.norm(off, axis=1).max() <= most, (mend, theirs)
        legs = capture.positions[:, capture.names.index("LeftFoot")] - exact.positions[:, at["lfoot"]]
        np.testing.assert_allclose(legs, 0, atol=1e-9)
    assert capture.notes[0].startswith("CMU's missing trunk bone put back (2.1 long)")


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("01.asf", lambda t: "", "not an .asf file, or truncated: no :bonedata"),
        ("01.asf", lambda t: t[: t.index(":hierarchy")], "no :hierarchy"),
        ("01.asf", lambda t: t.replace("length 7.3", "length long", 1), "expected 1 number"),
        ("01.asf", lambda t: t.replace("length 7.3", "length 1e999", 1), "expected 1 number"),
        ("01.asf", lambda t: t.replace("name lfemur", "name ltibia"), "bone 'ltibia' appears twice"),
        ("01.asf", lambda t: t.replace("name head", "name skull"), "bone 'head' is not in :bonedata"),
        ("01.asf", lambda t: t.replace("    root lhip", "    lfemur lhip"), "not connected to the root"),
        ("01.asf", lambda t: t.replace("    upperback thorax", "    upperback thorax lfemur"), "has two parents"),
        ("01.asf", lambda t: t.replace("dof rx ry rz", "dof rx ry rq"), "expected some of rx ry rz"),
        ("01.asf", lambda t: t.replace("XYZ\n    dof", "XYY\n    dof", 1), "axis order 'XYY'"),
        ("01_02.amc", lambda t: "", "not an .amc file, or truncated"),
        ("01_02.amc", lambda t: t[: t.rindex("thorax")], "truncated: a frame without all of its bones"),
        ("01_02.amc", lambda t: t.replace("thorax", "tail", 1), "bone 'tail' is not in the skeleton"),
        ("01_02.amc", lambda t: t.replace("ltibia ", "ltibia 1 ", 1), "2 values of 'ltibia', expected 1 (rx)"),
        ("01_02.amc", lambda t: t.replace("ltibia ", "ltibia x", 1), "expected 1 number"),
        ("01_02.amc", lambda t: t.replace("\nthorax", "\nthorax 1 2 3\nthorax", 1), "bone 'thorax' is given twice"),
        ("01_02.amc", lambda t: t.replace("root 3.0", "root 1e40", 1), "too large to be a motion"),
        ("01_02.amc", lambda t: t.replace("root 3.0", "root nan", 1), "NaN or infinite"),
    ],
)
def test_bad_files(file: str, spoil, message: str, tmp_path: Path) -> None:
    write(tmp_path, 1, frames=2)
    path = tmp_path / file
    path.write_text(spoil(path.read_text()))
    with pytest.raises(UserError) as error:
        read_amc(tmp_path / "01_02.amc")
    said = str(error.value)
    assert "\n" not in said and message in said


def test_which_skeleton(tmp_path: Path) -> None:
    write(tmp_path, 1, frames=2)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "01_02.amc").rename(other / "walk.amc")
    with pytest.raises(
        UserError, match=r"without its skeleton: put its .asf file \(walk.asf\) beside it, or give --asf"
    ):
        read_amc(other / "walk.amc")
    assert len(read_amc(other / "walk.amc", tmp_path / "01.asf").positions) == 2
    (tmp_path / "01.asf").rename(other / "any.asf")
    assert len(read_amc(other / "walk.amc").positions) == 2
    with pytest.raises(UserError, match="a skeleton without motion; give the .amc"):
        read_motion(other / "any.asf", HUMANML3D)
    with pytest.raises(UserError, match="cannot read"):
        read_amc(other / "none.amc")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spoiled_files_are_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    if not (tmp_path / "kept.asf").exists():
        write(tmp_path, 1, frames=3)
        (tmp_path / "01.asf").rename(tmp_path / "kept.asf")
        (tmp_path / "01_02.amc").rename(tmp_path / "kept.amc")
    contents = {ending: (tmp_path / f"kept.{ending}").read_bytes() for ending in ("asf", "amc")}
    ending = data.draw(st.sampled_from(["asf", "amc"]))
    content = bytearray(contents[ending])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    contents[ending] = bytes(content)
    (tmp_path / "x.asf").write_bytes(contents["asf"])
    (tmp_path / "x.amc").write_bytes(contents["amc"])
    try:
        capture = read_amc(tmp_path / "x.amc", tmp_path / "x.asf")
        assert np.isfinite(capture.positions).all()
    except UserError as error:
        assert "\n" not in str(error)
