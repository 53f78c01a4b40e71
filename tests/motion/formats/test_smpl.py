"""Parameters of the SMPL family as AMASS and video estimators write them, with a body model and without."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m2t_fast.errors import UserError
from m2t_fast.motion import MotionOptions, place, read_motion, read_motions
from m2t_fast.motion.formats import smpl
from m2t_fast.skeleton import HUMANML3D, KIT

RNG = np.random.default_rng(0)
FRAMES = 40


def poses(frames: int = FRAMES) -> np.ndarray:
    """(T, 22, 3) axis-angle of a body that sways."""
    swing = np.sin(np.arange(frames) / 6)[:, None, None]
    return RNG.uniform(-0.25, 0.25, (22, 3)) * swing * ([[0.2]] + [[1.0]] * 21)


def kinematics(turns: np.ndarray, root: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Joints (T, 22, 3), frame by frame with 4 x 4 matrices and Rodrigues' formula."""
    found = []
    for frame, shift in zip(turns, root, strict=True):
        world: list[np.ndarray] = []
        for joint, vector in enumerate(frame):
            angle = np.linalg.norm(vector)
            x, y, z = vector / angle if angle > 0 else vector
            cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            local = np.eye(4)
            local[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
            parent = smpl.PARENTS[joint]
            local[:3, 3] = rest[joint] - rest[parent] if parent >= 0 else rest[joint] + shift
            world.append(world[parent] @ local if parent >= 0 else local)
        found.append([matrix[:3, 3] for matrix in world])
    return np.array(found)


def walk(z_up: bool = False) -> np.ndarray:
    steps = np.linspace(0, 2, FRAMES)[:, None] * [0.1, 0, 1] + [0, 0.9, 0]
    return np.stack([steps[:, 0], -steps[:, 2], steps[:, 1]], axis=1) if z_up else steps


def test_the_fixed_skeleton() -> None:
    rest = smpl.rest_joints(None, None)
    np.testing.assert_allclose(rest[1::3][:3] * [-1, 1, 1], rest[2::3][:3])  # hips, knees, ankles
    leg = np.linalg.norm(rest[1] - rest[4]) + np.linalg.norm(rest[4] - rest[7])
    assert leg == pytest.approx(0.826, abs=0.01) and 1.5 < rest[15, 1] - rest[10, 1] < 1.65
    assert rest[20, 0] > 0.7 > 0 > rest[21, 0] and rest[10, 2] > rest[7, 2]


@pytest.mark.parametrize("size", [66, 72, 156, 165])
@pytest.mark.parametrize("rate", ["mocap_framerate", "mocap_frame_rate"])
def test_amass(size: int, rate: str, tmp_path: Path) -> None:
    turns, root = poses(), walk(z_up=True)
    turns[:, 0] = [np.pi / 2, 0, 0]  # as AMASS stands: Z up
    whole = np.concatenate([turns.reshape(FRAMES, 66), RNG.normal(size=(FRAMES, size - 66))], axis=1)
    path = tmp_path / "m.npz"
    np.savez(path, poses=whole, trans=root, betas=RNG.normal(size=16), gender="neutral", **{rate: 40.0})
    joints, notes = read_motion(path, HUMANML3D)
    expected = kinematics(turns, root, smpl.rest_joints(None, None))
    expected = np.stack([expected[..., 0], expected[..., 2], -expected[..., 1]], axis=-1)
    np.testing.assert_allclose(joints, place(expected, HUMANML3D)[::2], atol=1e-5)
    assert notes[:2] == ["SMPL parameters", "40 frames per second"] and smpl.FIXED in notes and "Z up" in notes
    assert read_motion(path, HUMANML3D, MotionOptions(fps=20.0))[0].shape == (FRAMES, 22, 3)
    kit, notes = read_motion(path, KIT)
    assert kit.shape == (13, 21, 3) and any("left_toe" in note for note in notes)


def body_model(path: Path, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    regressor = RNG.random((24, 50))
    regressor /= regressor.sum(axis=1, keepdims=True)
    joints = np.concatenate([smpl.rest_joints(None, None) * 1.1, RNG.normal(size=(2, 3))])
    template = np.linalg.lstsq(regressor, joints, rcond=None)[0]
    shapes = RNG.normal(size=(50, 3, 10)) * 0.01
    content = {"J_regressor": regressor, "v_template": template, "shapedirs": shapes, "f": np.zeros((3, 3), int)}
    if kind == "npz":
        np.savez(path, **content)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    return regressor, template, shapes


@pytest.mark.parametrize("kind", ["npz", "pkl"])
def test_a_body_model(kind: str, tmp_path: Path) -> None:
    model = tmp_path / f"model.{kind}"
    regressor, template, shapes = body_model(model, kind)
    turns, betas = poses(), RNG.normal(size=10)
    path = tmp_path / "m.npz"
    np.savez(path, poses=turns.reshape(FRAMES, 66), trans=walk(), betas=betas, fps=20)
    joints, notes = read_motion(path, HUMANML3D, MotionOptions(body_model=model, up="y", unit="m"))
    rest = (regressor @ (template + shapes @ betas))[:22]
    np.testing.assert_allclose(joints, place(kinematics(turns, walk(), rest), HUMANML3D), atol=1e-4)
    assert f"joints of model.{kind} with betas" in notes and smpl.FIXED not in notes


@pytest.mark.parametrize(
    ("content", "message"),
    [({"a": np.zeros(3)}, "a body model"), ({"J_regressor": np.zeros((3, 4)), "v_template": np.zeros((4, 3))}, "fit")],
)
def test_bad_body_models(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **content)
    with pytest.raises(UserError, match=message):
        smpl.read_body_model(tmp_path / "model.npz")


def estimators() -> dict[str, tuple[str, Any]]:
    turns, root = poses(), walk()
    matrices = smpl.rotation_matrices(turns)
    flat = turns.reshape(FRAMES, 66)
    humans = {
        f"frame{number:04}.jpg": {
            "tracked_ids": [7],
            "smpl": [
                {
                    "global_orient": (np.diag([1.0, -1, -1]) @ matrices[number, :1]).astype("f4"),  # y points down
                    "body_pose": np.concatenate([matrices[number, 1:], [np.eye(3)] * 2]).astype("f4"),
                    "betas": np.zeros(10, "f4"),
                }
            ],
        }
        for number in range(FRAMES)
    }
    tensors = {
        "body_pose": torch.from_numpy(flat[:, 3:]).float(),
        "global_orient": torch.from_numpy(flat[:, :3]).float(),
        "transl": torch.from_numpy(root).float(),
        "betas": torch.zeros(FRAMES, 10),
    }
    wham = {
        "pose": flat * 0,
        "pose_world": np.pad(flat, ((0, 0), (0, 6))),
        "trans_world": root,
        "betas": np.zeros((FRAMES, 10)),
    }
    return {
        "GVHMR": ("pt", {"smpl_params_global": tensors, "smpl_params_incam": tensors, "K_fullimg": torch.eye(3)}),
        "WHAM": ("pkl", {0: wham}),
        "4D-Humans": ("pkl", humans),
        "AIST++": ("pkl", {"smpl_poses": wham["pose_world"], "smpl_trans": root * 3, "smpl_scaling": np.array([3.0])}),
        "AMASS, stage II": ("npz", {"root_orient": flat[:, :3], "pose_body": flat[:, 3:], "trans": root}),
    }  # fmt: skip


@pytest.mark.parametrize("joblib_too", [False, True])
@pytest.mark.parametrize("name", ["GVHMR", "WHAM", "4D-Humans", "AIST++", "AMASS, stage II"])
def test_estimators(name: str, joblib_too: bool, tmp_path: Path) -> None:
    global RNG
    RNG = np.random.default_rng(5)
    turns = poses()
    RNG = np.random.default_rng(5)
    kind, content = estimators()[name]
    path = tmp_path / f"m.{kind}"
    if kind == "pt":
        torch.save(content, path)
    elif kind == "npz":
        np.savez(path, **content)
    elif joblib_too:
        joblib = pytest.importorskip("joblib", reason="joblib writes what some estimators write")
        joblib.dump(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    joints, notes = read_motion(path, HUMANML3D, MotionOptions(fps=20.0))
    root = np.zeros((FRAMES, 3)) if name == "4D-Humans" else walk()
    expected = kinematics(turns, root, smpl.rest_joints(None, None))
    np.testing.assert_allclose(joints, place(expected, HUMANML3D), atol=2e-4)
    assert notes[0] == "SMPL parameters" and ("-Y up, as in a camera's axes" in notes) == (name == "4D-Humans")


def test_two_people(tmp_path: Path) -> None:
    path = tmp_path / "wham.pkl"
    one = {"pose_world": np.zeros((30, 72)), "trans_world": np.zeros((30, 3))}
    path.write_bytes(
        pickle.dumps({3: one, 8: {**one, "pose_world": np.zeros((20, 72)), "trans_world": np.zeros((20, 3))}})
    )
    found = read_motions(path, HUMANML3D)
    assert [(motion.label, len(motion.joints)) for motion in found] == [("#3", 20), ("#8", 13)]
    assert "30 frames per second assumed (--fps)" in found[0].notes
    with pytest.raises(UserError, match=r"2 motions \(#3, #8\), expected one"):
        read_motion(path, HUMANML3D)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"poses": np.zeros((5, 72)), "trans": np.zeros((4, 3))}, "5 poses but 4 translations"),
        ({"poses": np.full((5, 72), np.nan), "trans": np.zeros((5, 3))}, "NaN or infinite"),
        ({"betas": np.zeros(10)}, "no motion in it: it holds betas; expected SMPL parameters"),
    ],
)
def test_bad_parameters(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **content)
    with pytest.raises(UserError, match=message):
        read_motion(tmp_path / "m.npz", HUMANML3D)


@pytest.mark.parametrize(
    "wrong",
    [
        {"betas": np.array(3.0)}, {"trans": np.zeros(7)}, {"poses": np.array(1.0)}, {"mocap_framerate": np.array("x")},
        {"smpl_scaling": np.zeros(1)}, {"mocap_framerate": np.array(1e-300)}, {"betas": np.array(["x"])},
    ],
    ids=str,
)  # fmt: skip
def test_arrays_of_other_shapes_and_types_are_one_line(wrong: dict[str, Any], tmp_path: Path) -> None:
    content = {"poses": poses(), "trans": np.zeros((FRAMES, 3)), "betas": np.zeros(10)} | wrong
    np.savez(tmp_path / "m.npz", **content)
    try:
        read_motion(tmp_path / "m.npz", HUMANML3D)
    except UserError as error:
        assert str(error).startswith(f"{tmp_path / 'm.npz'}: ") and "\n" not in str(error)


def test_people_without_numbers(tmp_path: Path) -> None:
    frame = {"smpl": [{"global_orient": np.eye(3)[None], "body_pose": np.tile(np.eye(3), (23, 1, 1))}]}
    for ids in (["x"], [None], 3, [float("nan")]):
        (tmp_path / "m.pkl").write_bytes(pickle.dumps({"0": {**frame, "tracked_ids": ids}}))
        with pytest.raises(UserError, match="m.pkl: "):
            read_motion(tmp_path / "m.pkl", HUMANML3D)


@pytest.mark.parametrize("moves", [True, False])
def test_parameters_without_translation_say_that_the_body_stays_in_place(moves: bool, tmp_path: Path) -> None:
    content = {"poses": np.pad(poses().reshape(FRAMES, 66), ((0, 0), (0, 6)))}
    np.savez(tmp_path / "m.npz", **content, **({"trans": np.zeros((FRAMES, 3))} if moves else {}))
    _, notes = read_motion(tmp_path / "m.npz", HUMANML3D)
    assert any("no translation in the file" in note for note in notes) is not moves


def test_an_archive_of_objects_alone_is_refused_as_that(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", poses=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match=r"pickled objects alone \(poses\), which are not opened"):
        read_motion(tmp_path / "m.npz", HUMANML3D)
