"""The files of a clone of the Bandai-Namco-Research-Motiondataset as joints at HumanML3D's frame rate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.bvh import read_bvh
from m2t_fast.motion.joint_names import JOINT_NAMES
from m2t_fast.preparation.bandai_namco.signals import spline
from m2t_fast.skeleton import HUMANML3D

URL = "https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset"
FPS = HUMANML3D.fps
NAME = re.compile(r"dataset-([12])_([a-z-]+)_([a-z-]+)_(\d+)")
"""Of a file: data set, content, style, number."""

# Ours -> the joint of the files; two are averaged, as SMPL has a joint more in the spine.
_JOINTS: dict[str, tuple[str, ...]] = {
    **{"pelvis": ("Hips",), "spine1": ("Spine",), "spine2": ("Spine", "Chest"), "spine3": ("Chest",)},
    **{"neck": ("Neck",), "head": ("Head",)},
    **{
        f"{side}_{ours}": (f"{theirs}_{side[0].upper()}",)
        for side in ("left", "right")
        for ours, theirs in {
            **{"hip": "UpperLeg", "knee": "LowerLeg", "ankle": "Foot", "foot": "Toes", "collar": "Shoulder"},
            **{"shoulder": "UpperArm", "elbow": "LowerArm", "wrist": "Hand"},
        }.items()
    },
}
_METRES = 0.01  # the files are in centimetres
_SLACK = 1e-3  # frames: 1/30 s is written as 0.0333333

PARENTS: tuple[int, ...] = tuple(
    next((parent for parent, child in HUMANML3D.bones if child == joint), -1) for joint in range(HUMANML3D.joints)
)
"""The parent of each joint; -1 for the root."""


@dataclass(frozen=True)
class Take:
    """A file: its name without ending, data set "1" or "2", content and style by its label, and its joints (T, 22, 3)
    float64, metres, Y up, at 20 frames per second."""

    name: str
    group: str
    content: str
    style: str
    joints: np.ndarray


def find_files(clone: str | Path) -> list[Path]:
    """The motion files of a clone, sorted by name.

    Raises:
        UserError: there are none.
    """
    folder = Path(clone)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a clone: git clone {URL}")
    found = sorted((path for path in folder.rglob("*.bvh") if NAME.fullmatch(path.stem)), key=lambda path: path.stem)
    if not found:
        raise UserError(f"{folder}: no dataset-*.bvh in it; expected a clone: git clone {URL}")
    return found


def read_take(path: Path) -> Take:
    """One file.

    Raises:
        UserError: it is unreadable, or its joints are not those of this data set.
    """
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise UserError(f"{path}: no file of this data set; expected dataset-N_CONTENT_STYLE_NUMBER.bvh")
    bvh = read_bvh(path)
    missing = sorted({name for names in _JOINTS.values() for name in names} - set(bvh.names))
    if missing:
        raise UserError(f"{path}: no joint {', '.join(missing)}; expected the skeleton of this data set")
    if not (bvh.frame_time > 0 and np.isfinite(bvh.frame_time)):
        raise UserError(f"{path}: frame time {bvh.frame_time:g}, expected seconds above 0")
    wanted = [[bvh.names.index(name) for name in _JOINTS[ours]] for ours in JOINT_NAMES[HUMANML3D.name]]
    joints = np.stack([bvh.positions[:, indices].mean(axis=1) for indices in wanted], axis=1) * _METRES
    return Take(path.stem, match[1], match[2], match[3], to_rate(joints, 1.0 / bvh.frame_time))


def to_rate(joints: np.ndarray, fps: float) -> np.ndarray:
    """Joints (T, 22, 3) at ``fps`` as joints at 20 frames per second: a spline, and bones of their usual length."""
    last = len(joints) - 1
    frames = int(np.floor(last * FPS / fps + _SLACK)) + 1
    places = np.minimum(np.arange(frames) * (fps / FPS), last)
    return with_bones(spline(joints, places), bone_lengths(joints))


def bone_lengths(joints: np.ndarray) -> np.ndarray:
    """(22,) mean lengths of the bones that lead to each joint; 0 for the root."""
    parents = joints[:, [max(parent, 0) for parent in PARENTS]]
    return np.asarray(np.linalg.norm(joints - parents, axis=2).mean(axis=0))


def with_bones(joints: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Joints (T, 22, 3) with bones of ``lengths`` in the directions they have; the root stays."""
    result = joints.copy()
    for joint, parent in enumerate(PARENTS):  # a parent stands before its children
        if parent >= 0:
            bone = joints[:, joint] - joints[:, parent]
            scale = lengths[joint] / np.maximum(np.linalg.norm(bone, axis=1, keepdims=True), 1e-8)
            result[:, joint] = result[:, parent] + bone * scale
    return result
