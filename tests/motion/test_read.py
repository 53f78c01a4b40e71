"""Every kind of file through the one entry: joints as they should come out, what is said, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.captioning.manifest import write_manifest
from m2t_fast.data.preprocessing import Statistics
from m2t_fast.errors import UserError
from m2t_fast.motion import (
    JOINT_NAMES,
    MotionOptions,
    map_joints,
    motion_files,
    place,
    read_bvh,
    read_motion,
    read_vector,
    resample,
    units_of,
)
from m2t_fast.skeleton import HUMANML3D, KIT, SKELETONS, Skeleton

KIT_UNITS = 640.0


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_joints_as_distributed_stay_as_they_are(skeleton: Skeleton, motions: Callable, tmp_path: Path) -> None:
    joints = motions(skeleton.joints)[0]
    read, notes = read_motion(saved(tmp_path / "m.npy", joints), skeleton)
    np.testing.assert_array_equal(read, joints)
    assert read.dtype == np.float32
    assert notes == [
        f"{skeleton.joints} joints",
        f"{skeleton.fps:g} frames per second assumed (--fps)",
        "unit m",
        "Y up",
    ]


def test_another_frame_rate(motions: Callable, tmp_path: Path) -> None:
    joints = motions(22)[0]
    fine = resample(joints.astype(np.float64), 20.0, 60.0)
    read, notes = read_motion(saved(tmp_path / "m.npy", fine), HUMANML3D, MotionOptions(fps=60.0))
    np.testing.assert_allclose(read, joints, atol=1e-6)
    assert notes[1] == "60 frames per second" and notes[-1] == f"resampled to 20 ({len(fine)} frames to {len(joints)})"


@pytest.mark.parametrize("unit", ["cm", "mm", "in"])
def test_joints_in_other_units(unit: str, motions: Callable, tmp_path: Path) -> None:
    joints = motions(22)[0]
    path = saved(tmp_path / "m.npy", joints / {"cm": 0.01, "mm": 0.001, "in": 0.0254}[unit])
    for options in (None, MotionOptions(unit=unit)):
        read, notes = read_motion(path, HUMANML3D, options)
        np.testing.assert_allclose(read, joints, atol=1e-5)
        assert any(note.startswith(f"unit {unit}") for note in notes)


def test_z_up_joints_are_said_and_turned_when_asked(motions: Callable, tmp_path: Path) -> None:
    joints = motions(22)[0]
    path = saved(tmp_path / "m.npy", np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1))
    read, notes = read_motion(path, HUMANML3D)
    np.testing.assert_array_equal(read, np.load(path))
    assert notes[-1] == "Y up (but the body stands along Z: --up z?)"
    read, notes = read_motion(path, HUMANML3D, MotionOptions(up="z"))
    np.testing.assert_array_equal(read, joints)
    assert notes[-1] == "Z up"


def test_joints_are_placed_when_asked(motions: Callable, tmp_path: Path) -> None:
    joints = motions(22)[0]
    path = saved(tmp_path / "m.npy", joints[..., [2, 1, 0]] * [1, 1, -1] + [3.0, 0.5, 1.0])
    read, notes = read_motion(path, HUMANML3D, MotionOptions(align=True))
    np.testing.assert_allclose(read, place(joints.astype(np.float64), HUMANML3D), atol=1e-5)
    assert notes[-1] == "placed on the floor at the origin, facing +Z"


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
@pytest.mark.parametrize("batched", [False, True])
def test_features(skeleton: Skeleton, batched: bool, motions: Callable, features_of: Callable, tmp_path: Path) -> None:
    joints = motions(skeleton.joints)[2]
    features = features_of(joints).astype(np.float32)
    path = saved(tmp_path / "m.npy", features[None] if batched else features)
    read, notes = read_motion(path, skeleton)
    expected = place(joints.astype(np.float64), skeleton)[:-1]
    expected[..., 1] = joints[:-1, :, 1]
    np.testing.assert_allclose(read, expected, atol=1e-4)
    assert notes[0] == f"{features.shape[1]} features" and "unit m" in notes
    halved, _ = read_motion(path, skeleton, MotionOptions(fps=2 * skeleton.fps))
    np.testing.assert_allclose(halved, read[::2], atol=1e-6)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_normalised_features(skeleton: Skeleton, motions: Callable, features_of: Callable, tmp_path: Path) -> None:
    true = [features_of(joints) for joints in motions(skeleton.joints)]
    mean, std = np.concatenate(true).mean(axis=0), np.concatenate(true).std(axis=0)
    normal = saved(tmp_path / "normal.npy", (true[0] - mean) / np.where(std == 0, 1, std))
    with pytest.raises(UserError, match=r"normal.npy: no body: .*--mean FILE --std FILE") as error:
        read_motion(normal, skeleton)
    assert "\n" not in str(error.value)
    options = MotionOptions(
        mean=read_vector(saved(tmp_path / "Mean.npy", mean), skeleton),
        std=read_vector(saved(tmp_path / "Std.npy", std), skeleton),
    )
    read, notes = read_motion(normal, skeleton, options)
    expected, _ = read_motion(saved(tmp_path / "true.npy", true[0]), skeleton)
    np.testing.assert_allclose(read, expected, atol=1e-4)
    assert "denormalised with --mean and --std" in notes
    with pytest.raises(UserError, match="no body after --mean and --std: .*another data set"):
        read_motion(tmp_path / "true.npy", skeleton, MotionOptions(mean=options.mean * 3, std=options.std * 9 + 1))


def test_a_run_in_kit_units(motions: Callable, features_of: Callable, make_bvh: Callable, tmp_path: Path) -> None:
    """KIT-ML as distributed has 640 units in a metre: runs on it read everything in them, others read it in metres."""
    metres = motions(21)[0]
    as_distributed = (metres * KIT_UNITS).astype(np.float32)
    kit_run = units_of(Statistics.of([as_distributed]), KIT)
    assert kit_run == KIT_UNITS and units_of(Statistics.of([metres]), KIT) == 1.0
    assert units_of(Statistics.of([as_distributed]), HUMANML3D) == 1.0
    distributed = saved(tmp_path / "distributed.npy", as_distributed)
    read, notes = read_motion(distributed, KIT, units_per_metre=kit_run)
    np.testing.assert_array_equal(read, as_distributed)
    assert "the run's unit" in notes
    read, notes = read_motion(distributed, KIT)
    np.testing.assert_allclose(read, metres, atol=1e-5)
    assert notes[2].startswith("unit kit")
    read, notes = read_motion(saved(tmp_path / "metres.npy", metres), KIT, units_per_metre=kit_run)
    np.testing.assert_allclose(read, as_distributed, rtol=1e-5, atol=1e-3)
    assert notes[-1] == "in the run's unit (640 to the metre)"
    scaled = features_of(metres)
    scaled[:, 1 : 4 + 3 * 20] *= KIT_UNITS
    features = saved(tmp_path / "features.npy", scaled)
    in_units, notes = read_motion(features, KIT, units_per_metre=kit_run)
    assert "unit kit (KIT-ML as distributed)" in notes
    np.testing.assert_allclose(read_motion(features, KIT)[0] * KIT_UNITS, in_units, rtol=1e-4, atol=1e-2)
    assert 300 < in_units[:, 0, 1].mean() < 700
    bvh = make_bvh("CMU").path
    np.testing.assert_allclose(
        read_motion(bvh, KIT, units_per_metre=kit_run)[0], read_motion(bvh, KIT)[0] * KIT_UNITS, rtol=1e-5, atol=1e-3
    )


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("source", "scale", "unit", "fps"),
    [("CMU", 0.01 / 0.0564444, "cmu", 120.0), ("Mixamo", 1.0, "cm", 30.0), ("LaFAN1", 0.01, "m", 30.0)]
    + [("Bandai-Namco", 1.0 / 2.54, "in", 60.0)],
)
def test_bvh(source: str, scale: float, unit: str, fps: float, skeleton: Skeleton, make_bvh: Callable) -> None:
    path, _ = make_bvh(source, frames=40, scale=scale, fps=fps)
    bvh = read_bvh(path, mend=True)
    joints, _, _ = map_joints(path, bvh, skeleton)
    expected = resample(place(joints * (0.01 / scale), skeleton), 1 / bvh.frame_time, skeleton.fps)
    read, notes = read_motion(path, skeleton)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, expected, atol=1e-4)
    assert notes[0].startswith(".bvh of ") and notes[1].startswith(f"{source} joint names")
    assert notes[2] == f"{fps:g} frames per second" and notes[3].startswith(f"unit {unit} (a body of about 1.")
    assert "Y up" in notes and "placed on the floor at the origin, facing +Z" in notes
    assert notes[-1].startswith(f"resampled to {skeleton.fps:g} (40 frames to {len(read)})")


def by_positions(path: Path, joints: np.ndarray, names: dict[str, str], tail: str) -> Path:
    """A .bvh file whose joints all hang on one root and have position channels: it holds ``joints`` exactly."""
    wanted = list(names)
    lines = ["HIERARCHY", "ROOT world", "{", "OFFSET 0 0 0", "CHANNELS 0"]
    for index, name in enumerate(wanted):
        offset = " ".join(map(str, joints[0, index]))
        lines += [f"JOINT {names[name]}", "{", f"OFFSET {offset}", "CHANNELS 3 Xposition Yposition Zposition"]
        lines += ["End Site", "{", "OFFSET 0 0 0", "}", "}"]
    rows = [" ".join(map(str, frame.ravel())) for frame in joints.astype(np.float64)]
    path.write_text("\n".join([*lines, "}", "MOTION", f"Frames: {len(rows)}", tail, *rows]))
    return path


@pytest.mark.parametrize("z_up", [False, True])
def test_a_bvh_of_a_training_motion_is_that_motion(z_up: bool, motions: Callable, tmp_path: Path) -> None:
    names = {name: f"joint{index}" for index, name in enumerate(JOINT_NAMES["humanml3d"])}
    for number, joints in enumerate(motions(22)[:6]):
        turned = np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1) if z_up else joints
        path = by_positions(tmp_path / f"{number}.bvh", turned * 100 + 7, names, "Frame Time: 0.05")
        read, notes = read_motion(path, HUMANML3D, MotionOptions(joint_map=names))
        np.testing.assert_allclose(read, place(joints.astype(np.float64), HUMANML3D), atol=1e-5)
        assert ("Z up" if z_up else "Y up") in notes and "joints by the joint map" in notes


def test_a_pose_in_front_is_left_out(motions: Callable, tmp_path: Path) -> None:
    names = {name: name for name in JOINT_NAMES["humanml3d"]}
    joints = motions(22)[0]
    posed = np.concatenate([joints[:1] + [2.0, 0.0, 1.0], joints])
    for frames, left_out in ((posed, True), (joints, False)):
        read, notes = read_motion(
            by_positions(tmp_path / "m.bvh", frames, names, "Frame Time: 0.05"),
            HUMANML3D,
            MotionOptions(joint_map=names),
        )
        np.testing.assert_allclose(read, place(joints.astype(np.float64), HUMANML3D), atol=1e-5)
        assert any("first frame left out" in note for note in notes) == left_out


def test_what_is_given_is_not_guessed(make_bvh: Callable) -> None:
    path, _ = make_bvh("Mixamo", frames=21, fps=20.0)
    plain, _ = read_motion(path, HUMANML3D)
    slow, notes = read_motion(path, HUMANML3D, MotionOptions(fps=10.0, unit="in", up="y"))
    assert len(slow) == 41 and "10 frames per second (--fps)" in notes and "unit in" in notes
    np.testing.assert_allclose(slow[::2], plain * 2.54, atol=1e-4)


@pytest.mark.parametrize("seconds", ["0", "-0.05", "nan"])
def test_a_bvh_without_frame_time_needs_fps(make_bvh: Callable, seconds: str) -> None:
    path, _ = make_bvh("CMU", fps=20.0)
    path.write_text(re.sub(r"Frame Time: \S+", f"Frame Time: {seconds}", path.read_text()))
    with pytest.raises(UserError, match="frame time .*, expected seconds above 0"):
        read_motion(path, HUMANML3D)
    assert len(read_motion(path, HUMANML3D, MotionOptions(fps=20.0))[0]) == 12


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 262)), r"shape (5, 262), expected (frames, 22, 3) joints or (frames, 263) features"),
        (np.zeros((5, 251)), "251 features of 21 joints, but the run reads 22 (humanml3d)"),
        (np.zeros((5, 21, 3)), "21 joints, but the run reads 22 (humanml3d)"),
        (np.zeros((2, 5, 262)), "shape (2, 5, 262)"),
        (np.zeros((0, 263)), "no frames"),
        (np.zeros((0, 22, 3)), "no frames"),
        (np.full((5, 263), np.nan), "NaN or infinite values in 5 of 5 frames, first in frame 0"),
        (np.zeros((5, 263)), "no body: a left thigh of 0 m"),
        (np.full((5, 263), 1e300), "too large"),
        (np.zeros((5, 263), dtype=np.int32), "dtype int32"),
    ],
)
def test_bad_arrays(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = saved(tmp_path / "m.npy", array)
    with pytest.raises(UserError) as error:
        read_motion(path, HUMANML3D)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)


def test_too_slow_to_be_true(motions: Callable, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npy", motions(22)[0])
    with pytest.raises(UserError, match="m.npy: fps: .* too long"):
        read_motion(path, HUMANML3D, MotionOptions(fps=1e-5))


@pytest.mark.parametrize("value", [1e20, 3e38])
def test_huge_coordinates_raise_no_warning(value: float, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npy", np.full((3, 22, 3), value, dtype=np.float32))
    assert np.isfinite(read_motion(path, HUMANML3D)[0]).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fps": 0.0}, "fps: got 0.0"),
        ({"fps": float("nan")}, "fps: got nan"),
        ({"mean": np.zeros(263)}, "std: not given"),
        ({"unit": "parsec"}, "unit: got 'parsec'"),
        ({"up": "w"}, "up: got 'w'"),
    ],
)
def test_bad_options(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MotionOptions(**wrong)


@pytest.mark.parametrize(
    ("vector", "message"),
    [(np.zeros(251), "shape (251,), expected (263,) for 22 joints"), (np.full(263, np.nan), "NaN or infinite")],
)
def test_bad_vectors(tmp_path: Path, vector: np.ndarray, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_vector(saved(tmp_path / "v.npy", vector), HUMANML3D)
    assert message in str(error.value)


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.npy", "a.BVH", "sub/c.bvh", ".hidden.npy", ".git/d.npy", "note.txt", "sub/e.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.npy").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in motion_files(tmp_path)]
    assert found == ["a.BVH", "b.npy", "sub/c.bvh", "sub/e.npz"]
    with pytest.raises(UserError, match="no motion files in it; expected .npy or .bvh"):
        motion_files(tmp_path / "folder.npy")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("walk.fbx", "sub/run.FBX", "notes.txt"), r"run.FBX \(one of 2\) is an .fbx file, which is not read: Blender"),
        (("walk.mvnx",), "; walk.mvnx is Xsens' .mvnx, which is not read: MVN exports"),
        (("01.asf", "meta.json"), "; 01.asf is a skeleton without motion; give the .amc file"),
        (("notes.txt", ".hidden.fbx", ".git/a.fbx"), "; expected .npy or .bvh"),
    ],
)
def test_a_folder_of_files_that_are_not_read(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"no motion files in it.*{said}"):
        motion_files(tmp_path)
    with pytest.raises(UserError, match=f"no motion files in it.*{said}"):
        write_manifest(tmp_path, tmp_path / ".manifest")


def test_a_scale_that_leads_beyond_float32(motions: Callable, tmp_path: Path) -> None:
    joints = motions(21)[0] + np.float32([3e37, 0.0, 0.0])
    joints[:, :, 0] = 3e37  # legs stay of a possible length
    path = saved(tmp_path / "far.npy", joints.astype(np.float32))
    assert np.isfinite(read_motion(path, KIT)[0]).all()
    with pytest.raises(UserError, match="far.npy: coordinates of 1.92e\\+40 are too large"):
        read_motion(path, KIT, units_per_metre=KIT_UNITS)
