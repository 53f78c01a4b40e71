"""Who writes SMPL parameters how: every way gives the motions of a plain file, people apart, or one line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m2t_fast.errors import UserError
from m2t_fast.motion import read_motion, read_motions
from m2t_fast.motion.formats import smpl
from m2t_fast.skeleton import HUMANML3D

FRAMES = 24


def person(seed: int, frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Axis angles (T, 72) and translations (T, 3)."""
    rng = np.random.default_rng(seed)
    swing = np.sin(np.arange(frames) / 6 + seed)[:, None, None]
    turns = rng.uniform(-0.25, 0.25, (24, 3)) * swing * ([[0.2]] + [[1.0]] * 23)
    steps = np.linspace(0, 1, frames)[:, None] * [0.1, 0, 1.0 + seed] + [0, 0.9, 0]
    return turns.reshape(frames, 72), steps


def plain(tmp_path: Path, poses: np.ndarray, trans: np.ndarray) -> np.ndarray:
    np.savez(tmp_path / "plain.npz", poses=poses[:, :66], trans=trans)
    return read_motion(tmp_path / "plain.npz", HUMANML3D)[0]


def written(path: Path, content: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".pt":
        torch.save(content, path)
    elif path.suffix == ".npy":
        np.save(path, content, allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(content))
    return path


POSES, TRANS = person(0)
VECTORS = POSES.reshape(FRAMES, 24, 3)
MATRICES = smpl.rotation_matrices(VECTORS)
BETAS = np.zeros(10)
LAYOUTS: dict[str, tuple[str, Any]] = {
    "TRAM": ("npy", {"pred_rotmat": MATRICES, "pred_trans": TRANS[:, None], "pred_shape": np.zeros((FRAMES, 10))}),
    "TRAM, tensors": ("npy", {"pred_rotmat": torch.tensor(MATRICES), "pred_trans": torch.tensor(TRANS[:, None])}),
    "EMDB": (
        "pkl",
        {
            "name": "P1",
            "smpl": {"poses_root": POSES[:, :3], "poses_body": POSES[:, 3:], "trans": TRANS, "betas": BETAS},
        },
    ),
    "SLAHMR": (
        "npz",
        {
            "root_orient": POSES[None, :, :3],
            "pose_body": POSES[None, :, 3:66],
            "trans": TRANS[None],
            "betas": BETAS[None],
        },
    ),
    "a list of one": ("pkl", [{"pose": POSES, "trans": TRANS}]),
    "a vector per joint": ("npz", {"poses": VECTORS, "trans": TRANS, "betas": BETAS}),
    "a matrix per joint": ("npz", {"poses": MATRICES, "trans": TRANS}),
    "matrices in a row": ("npz", {"poses": MATRICES.reshape(FRAMES, 216), "trans": TRANS}),
    "a list of frames": ("pkl", {"poses": list(POSES), "trans": list(TRANS)}),
    "a list of one person": ("pkl", {"poses": [POSES], "trans": [TRANS], "betas": [BETAS]}),
    "roots with an axis": ("npz", {"global_orient": VECTORS[:, :1], "body_pose": VECTORS[:, 1:], "transl": TRANS}),
    "Motion-X": (
        "npy",
        np.concatenate([POSES[:, :66], np.ones((FRAMES, 243)), TRANS, np.zeros((FRAMES, 10))], axis=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_the_plain_motion(name: str, tmp_path: Path) -> None:
    kind, content = LAYOUTS[name]
    joints, notes = read_motion(written(tmp_path / f"m.{kind}", content), HUMANML3D)
    np.testing.assert_allclose(joints, plain(tmp_path, POSES, TRANS), atol=1e-5)
    assert notes[0] == "SMPL parameters" and smpl.STILL not in notes


def test_rotations_without_a_name_stay_in_place(tmp_path: Path) -> None:
    joints, notes = read_motion(written(tmp_path / "m.npy", MATRICES), HUMANML3D)
    np.testing.assert_allclose(joints, plain(tmp_path, POSES, 0 * TRANS), atol=1e-5)
    assert smpl.STILL in notes


def of_two(name: str, frames: tuple[int, int]) -> tuple[str, Any]:
    (one, there), (two, elsewhere) = (person(seed, count) for seed, count in enumerate(frames))
    lists = {"poses": [one, two], "trans": [there, elsewhere], "betas": [BETAS, BETAS]}
    if name == "3DPW":
        return "pkl", {**lists, "genders": ["m", "f"], "jointPositions": [one, two], "sequence": "x"}
    if name == "a list of dictionaries":
        return "pkl", [{"pose": one, "trans": there}, {"pose": two, "trans": elsewhere}]
    stacked = {key: np.stack(value) for key, value in lists.items()}
    if name == "SLAHMR":
        poses = stacked.pop("poses")
        return "npz", {**stacked, "root_orient": poses[..., :3], "pose_body": poses[..., 3:66]}
    if name == "a matrix per joint":
        return "npz", {**stacked, "poses": smpl.rotation_matrices(stacked["poses"].reshape(2, -1, 24, 3))}
    if name == "a vector per joint":
        return "pt", {
            key: torch.tensor(value.reshape(2, -1, 24, 3) if key == "poses" else value)
            for key, value in stacked.items()
        }
    return "npz", stacked


@pytest.mark.parametrize(
    "name",
    ["3DPW", "a list of dictionaries", "SLAHMR", "an axis in front", "a matrix per joint", "a vector per joint"],
)
def test_people_are_not_joined(name: str, tmp_path: Path) -> None:
    frames = (FRAMES, 30) if name in ("3DPW", "a list of dictionaries") else (FRAMES, FRAMES)
    kind, content = of_two(name, frames)
    found = read_motions(written(tmp_path / f"m.{kind}", content), HUMANML3D)
    assert [motion.label for motion in found] == ["#0", "#1"]
    for seed, motion in enumerate(found):
        np.testing.assert_allclose(motion.joints, plain(tmp_path, *person(seed, frames[seed])), atol=1e-5)


SIXES = MATRICES[..., :2].reshape(FRAMES, 24, 6)


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("npz", {"poses": POSES[:, None], "trans": TRANS}, r"are these 24 people or 24 frames\?"),
        ("npz", {"poses": np.stack([POSES] * 2, axis=1), "trans": TRANS}, r"24 by 2 poses: are these 24 people"),
        ("npz", {"poses": np.stack([POSES] * 2), "trans": TRANS}, "2 people, but trans of shape"),
        ("pkl", {"poses": [POSES] * 2, "trans": TRANS}, "2 people, but trans of shape"),
        ("pkl", {"poses": [POSES] * 2, "trans": [TRANS]}, "2 people, but trans of another number"),
        ("pkl", [{"pose": POSES[:1]}] * 5, "5 motions of one frame each, or frames of one"),
        ("pkl", {n: {"pose": POSES[:1]} for n in range(5)}, "5 poses of one frame each: people, or frames"),
        ("npz", {"root_orient": POSES[:9, :3], "pose_body": POSES[:, 3:66]}, "do not fit pose_body"),
        ("npz", {"poses": SIXES, "trans": TRANS}, "poses of shape .* are six numbers per joint"),
        ("pt", {"rots": torch.tensor(SIXES)}, "rots of shape .* are six numbers per joint"),
        ("npz", {"poses": np.ones((5, 24, 3, 3))}, "matrices that are not rotations"),
        ("npy", SIXES, "six numbers per joint"),
        ("npy", SIXES.reshape(FRAMES, 144), "six numbers per joint"),
        ("npy", SIXES.transpose(1, 2, 0)[None], "six numbers per joint"),
        ("npy", {"motion": SIXES.transpose(1, 2, 0), "thetas": SIXES.transpose(1, 2, 0)}, "give the results.npy"),
    ],
)
def test_what_cannot_be_told_is_refused(kind: str, content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_motions(written(tmp_path / f"m.{kind}", content), HUMANML3D)
    assert str(caught.value).startswith(f"{tmp_path / 'm'}.{kind}: ") and "\n" not in str(caught.value)


def test_places_called_poses_are_no_rotations(tmp_path: Path) -> None:
    joints = plain(tmp_path, POSES, TRANS)
    with pytest.raises(UserError, match="poses of shape .* are places, not rotations"):
        read_motion(written(tmp_path / "m.npz", {"poses": joints}), HUMANML3D)


@pytest.mark.parametrize(
    "poses", [np.full((5, 24, 3), 1e200), np.full((5, 22, 3), np.nan), np.zeros((0, 72)), np.ones(3)], ids=range(4)
)
@pytest.mark.parametrize("name", ["poses", "joints", "pred_rotmat"])
def test_numbers_that_no_body_has_are_one_line(name: str, poses: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_motions(written(tmp_path / "m.pkl", {name: poses}), HUMANML3D)
    assert str(caught.value).startswith(f"{tmp_path / 'm.pkl'}: ") and "\n" not in str(caught.value)
