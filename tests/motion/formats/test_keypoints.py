"""Keypoints of video: the joints that they have stay, what they lack is where bodies have it, upright."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.errors import UserError
from m2t_fast.motion import JOINT_NAMES, MotionOptions, place, read_motion
from m2t_fast.motion.formats.keypoints import LAYOUTS
from m2t_fast.skeleton import HUMANML3D

NAMES = JOINT_NAMES["humanml3d"]
KEPT = [
    f"{side}_{name}" for side in ("left", "right") for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
]


def keypoints(joints: np.ndarray, layout: str) -> np.ndarray:
    at = {name: joints[:, index] for index, name in enumerate(NAMES)}
    left = at["left_shoulder"] - at["right_shoulder"]
    head = at["head"]
    for side, sign in (("left", 1), ("right", -1)):
        for name in ("ear", "eye", "eye_inner", "eye_outer"):
            at[f"{side}_{name}"] = head + sign * 0.2 * left
        at[f"mouth_{side}"] = head
        at[f"{side}_heel"] = at[f"{side}_ankle"]
        at[f"{side}_foot_index"] = at[f"{side}_ankle"] + (at[f"{side}_foot"] - at[f"{side}_ankle"]) / 0.75
        for name in ("pinky", "index", "thumb"):
            at[f"{side}_{name}"] = at[f"{side}_wrist"]
    at |= {"nose": head, "head_top": head, "thorax": at["neck"], "spine": at["spine2"]}
    return np.stack([at[name] for name in LAYOUTS[layout]], axis=1)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_joints(layout: str, down: bool, motions: Callable, tmp_path: Path) -> None:
    joints = motions(22)[0].astype(np.float64)
    points = keypoints(joints, layout) * ([1, -1, -1] if down else [1, 1, 1])
    path = tmp_path / "k.npy"
    np.save(path, points if layout != "mediapipe" else np.concatenate([points, points[..., :1] * 0 + 1], axis=2))
    read, notes = read_motion(path, HUMANML3D, MotionOptions(layout=layout, unit="m"))
    assert notes[0].startswith(f"{len(LAYOUTS[layout])} keypoints ({layout}), estimated ")
    assert ("-Y up, as in a camera's axes" in notes) == down
    kept = [NAMES.index(name) for name in KEPT]
    expected = place(joints, HUMANML3D)
    offset = read[:1, kept[:1]] - expected[:1, kept[:1]]  # pelvis and floor are made up
    np.testing.assert_allclose(
        read[:, kept] - expected[:, kept], np.broadcast_to(offset, expected[:, kept].shape), atol=2e-4
    )
    off = np.linalg.norm(read - offset - expected, axis=2).mean(axis=0)
    assert off.max() < 0.16, dict(zip(NAMES, off.round(3), strict=True))


@pytest.mark.parametrize(
    ("array", "layout", "message"),
    [
        (np.zeros((5, 17, 3)), None, "17 joints: keypoints of video\\? --joints h36m or --joints coco says which"),
        (np.zeros((5, 33, 3)), None, "--joints mediapipe says which"),
        (np.zeros((5, 17, 3)), "mediapipe", "expected \\(frames, 33, 3\\) for --joints mediapipe"),
        (np.zeros((5, 17, 2)), "coco", "flat keypoints"),
        (np.full((5, 17, 3), np.nan), "coco", "NaN or infinite"),
        (np.full((5, 17, 3), 1e200), "coco", "too large"),
    ],
)
def test_what_is_refused(array: np.ndarray, layout: str | None, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", array)
    with pytest.raises(UserError, match=message):
        read_motion(tmp_path / "k.npy", HUMANML3D, MotionOptions(layout=layout))
