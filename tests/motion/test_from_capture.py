"""Frame rates, units, axes and poses in front, of captures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.errors import UserError
from m2t_fast.motion import MotionOptions, read_motion, read_motions
from m2t_fast.motion.from_capture import frame_rate, pose_in_front
from m2t_fast.motion.kinds import SUFFIXES, kind_of, motion_files, refusal
from m2t_fast.motion.placement import UPS, guess_unit, guess_up, to_y_up, upside_down
from m2t_fast.skeleton import HUMANML3D


@pytest.mark.parametrize(
    ("seconds", "given", "fps", "said"),
    [
        (0.0333333, None, 30.0, "30 frames per second"),
        (0.0333333, 24.0, 24.0, "24 frames per second (--fps)"),
        (1.0, None, 1.0, "1 frame per second (frame time 1 s: is that frames per second? --fps N)"),
        (0.25, None, 4.0, "4 frames per second (frame time 0.25 s: is that frames per second? --fps N)"),
        (0.0001, None, 1e4, "10000 frames per second (frame time 0.0001 s: is that frames per second? --fps N)"),
        (30.0, None, 30.0, "frame time 30: is that frames per second? taken as 30 frames per second (--fps N)"),
        (120.0, 60.0, 60.0, "60 frames per second (--fps)"),
    ],
)
def test_frame_rates(seconds: float, given: float | None, fps: float, said: str) -> None:
    found, note = frame_rate("m.bvh", seconds, given)
    assert found == pytest.approx(fps, rel=1e-4) and note == said


def test_no_frame_rate() -> None:
    with pytest.raises(UserError, match="frame time 0, expected seconds above 0"):
        frame_rate("m.bvh", 0.0, None)


def test_poses_in_front(motions: Callable) -> None:
    """A jump of 5 times the usual steps is one; a motion's own first step, up to 1.3 times, is none."""
    for joints in motions(22):
        joints = joints.astype(np.float64)
        steps = np.linalg.norm(np.diff(joints, axis=0), axis=2).mean(axis=1)
        jump = max(5.3 * np.percentile(steps, 95), 0.03)
        posed = np.concatenate([joints[:1] + [jump, 0, 0], joints])
        assert pose_in_front(posed) == 1
        held = np.concatenate([np.repeat(posed[:1], 4, axis=0), joints])
        assert pose_in_front(held) == 4
        assert pose_in_front(joints) == 0
    assert pose_in_front(posed[:1]) == pose_in_front(posed[:2]) == 0


@pytest.mark.parametrize(
    ("leg", "unit"),
    [
        (0.82, "m"),
        (0.55, "m"),
        (82, "cm"),
        (820, "mm"),
        (32.3, "in"),
        (14.5, "cmu"),
        (20.0, None),
        (11.0, None),
        (5, None),
    ],
)
def test_rare_units_need_usual_legs(leg: float, unit: str | None) -> None:
    joints = np.zeros((3, 22, 3))
    joints[:, [4, 5], 1], joints[:, [7, 8], 1] = -leg / 2, -leg
    metres, said = guess_unit(joints, HUMANML3D)
    if unit is None:
        assert said.startswith("unit unknown: legs of") and metres * leg == pytest.approx(0.82)
    else:
        assert said.startswith(f"unit {unit} (")


def test_any_axis_may_be_up(motions: Callable, tmp_path: Path) -> None:
    joints = motions(22)[0].astype(np.float64)
    for up in UPS:
        turned = {"y": joints, "z": joints[..., [0, 2, 1]] * [1, -1, 1], "-y": joints * [1, -1, -1]}
        turned |= {"-z": joints[..., [0, 2, 1]] * [1, 1, -1], "x": joints[..., [1, 0, 2]] * [1, -1, 1]}
        turned["-x"] = joints[..., [1, 0, 2]] * [-1, 1, 1]
        np.testing.assert_allclose(to_y_up(turned[up], up), joints)
        found, _ = guess_up(turned[up], turned[up][0], HUMANML3D)
        assert found == {"-y": "y", "-z": "z"}.get(up, up)
        assert upside_down(to_y_up(turned[up], found), HUMANML3D) == (up in ("-y", "-z"))


def test_upside_down_is_said(make_bvh: Callable) -> None:
    path, _ = make_bvh("Mixamo", frames=30)
    plain, notes = read_motion(path, HUMANML3D)
    assert not any("upside" in note for note in notes)
    lines = path.read_text().splitlines()
    start = lines.index("MOTION") + 3
    above = ["HIERARCHY", "ROOT World", "{", "OFFSET 0 0 0", "CHANNELS 1 Xrotation"]
    turned = [f"180 {line}" for line in lines[start:]]
    text = "\n".join([*above, *lines[1 : start - 3], "}", *lines[start - 3 : start], *turned])
    path.write_text(text.replace("ROOT Hips", "JOINT Hips"))
    _, notes = read_motion(path, HUMANML3D)
    assert "upside down: the head is below the ankles (--up -y?)" in notes
    joints, notes = read_motion(path, HUMANML3D, MotionOptions(up="-y"))
    np.testing.assert_allclose(joints, plain, atol=1e-4)
    assert "-Y up" in notes and not any("upside" in note for note in notes)


def test_scaled_to_the_body(make_bvh: Callable) -> None:
    path, _ = make_bvh("LaFAN1", frames=12)
    joints, notes = read_motion(path, HUMANML3D, MotionOptions(unit="body"))
    leg = np.linalg.norm(joints[0, 1] - joints[0, 4]) + np.linalg.norm(joints[0, 4] - joints[0, 7])
    assert leg == pytest.approx(0.82, abs=1e-3) and "legs of 85 scaled to 0.82 m (--units body)" in notes


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.fbx", b"Kaydara FBX Binary", "an .fbx file, which is not read: Blender reads it .* writes .bvh or .glb"),
        ("m", b"Kaydara FBX Binary", "an .fbx file, which is not read"),
        ("m.csv", b"1,2,3", "a table, which does not say what its columns are: np.save joints"),
        ("m.mp4", b"\0\0", "a film: an estimator"),
        ("m.xyz", b"", "a .xyz file, expected one of .npy, .bvh"),
        ("m", b"", "a file without ending, expected one of .npy"),
        ("m.bvh", b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer, not the file itself"),
        ("m.npz", b"no archive", "truncated or not an .npz file"),
        ("m.pt", b"no archive", "truncated or not a file of torch.save"),
        ("m.glb", b"no archive", "truncated or not a glTF file"),
        ("m.c3d", b"no archive", "not a .c3d file, or truncated"),
        ("m.amc", b"1\nroot 0", "a motion without its skeleton"),
    ],
)
def test_what_is_not_read_is_told_by_what_it_is(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        read_motions(path, HUMANML3D)
    assert "\n" not in str(error.value) and "allow_pickle" not in str(error.value)


def test_a_file_with_the_wrong_ending(make_bvh: Callable) -> None:
    path, _ = make_bvh("Mixamo")
    other = path.rename(path.with_suffix(".dat"))
    assert kind_of(other) == ".bvh" and len(read_motions(other, HUMANML3D)) == 1
    assert refusal(".bvh") is None


def test_every_ending_is_found_in_folders(tmp_path: Path) -> None:
    for number, ending in enumerate(SUFFIXES):
        (tmp_path / f"m{number}{ending.upper()}").touch()
    (tmp_path / "x.asf").touch()
    assert len(motion_files(tmp_path)) == len(SUFFIXES)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda t: t.encode("utf-16"),
        lambda t: t.encode("utf-16-le"),
        lambda t: t.encode("utf-16-be"),
        lambda t: (t + "\x1a").encode(),
        lambda t: re.sub(r"MOTION\n", "MOTION ", t).encode(),
        lambda t: re.sub(r"MOTION\nFrames: (\d+)\n", r"MOTION Frames: \1 ", t).encode(),
        lambda t: t.replace("\n", "\r").encode(),
        lambda t: (t[: t.index("Frame Time")] + t[t.index("Frame Time") :].replace(".", ",")).encode(),
        lambda t: t.replace(".", ",").encode(),
    ],
)
def test_spellings_of_bvh(spelled: Callable[[str], bytes], make_bvh: Callable) -> None:
    path, _ = make_bvh("CMU", frames=9)
    plain, said = read_motion(path, HUMANML3D)
    path.write_bytes(spelled(path.read_text()))
    joints, notes = read_motion(path, HUMANML3D)
    np.testing.assert_array_equal(joints, plain)
    assert notes == said


def test_an_end_site_without_offset_is_at_its_joint(make_bvh: Callable) -> None:
    path, _ = make_bvh("LaFAN1")
    plain, _ = read_motion(path, HUMANML3D)
    path.write_text(path.read_text().replace("OFFSET 0.000000000 -1.000000000 7.000000000", ""))
    np.testing.assert_array_equal(read_motion(path, HUMANML3D)[0], plain)
