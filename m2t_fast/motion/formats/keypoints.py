"""Keypoints of video (H36M, COCO, MediaPipe) to our joints; missing joints are estimated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m2t_fast.motion.joint_names import COLLAR, HEAD, JOINT_NAMES, SPINE, TOE
from m2t_fast.motion.matching.joints import make_up_feet
from m2t_fast.skeleton import Skeleton

_Points = dict[str, np.ndarray]

_H36M = (
    "pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle spine thorax nose head_top left_shoulder "
    "left_elbow left_wrist right_shoulder right_elbow right_wrist"
)
_COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
_MEDIAPIPE = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index"
)

LAYOUTS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split()) for name, words in (("h36m", _H36M), ("coco", _COCO), ("mediapipe", _MEDIAPIPE))
}
"""Names of the points of each layout, in their order."""

_NECK_RISE = 0.09  # of a leg: the neck's lower end above the line of the shoulders
_BALL = 0.75  # of the way from ankle to tip of the foot


def joints_of_keypoints(points: np.ndarray, layout: str, skeleton: Skeleton) -> tuple[np.ndarray, list[str]]:
    """Joints (T, J, 3) of keypoints (T, K, 3), in their unit and axes, and the names of those that were estimated."""
    at: _Points = {name: points[:, index].astype(np.float64) for index, name in enumerate(LAYOUTS[layout])}
    names = JOINT_NAMES[skeleton.name]
    leg = _leg(at)
    found: _Points = {name: at[name] for name in names if name in at and name != "spine"}
    made_up: list[str] = []

    def make(name: str, value: Callable[[], np.ndarray]) -> None:
        if name not in found:
            found[name] = value()
            made_up.append(name)

    hips, shoulders = (0.5 * (at[f"left_{name}"] + at[f"right_{name}"]) for name in ("hip", "shoulder"))
    up = _unit(shoulders - hips)
    make("pelvis", lambda: hips + 0.08 * leg * up)
    if layout == "h36m":
        found["neck"] = at["thorax"]
        found["head"] = at["nose"] if "nose" in at else at["head_top"]
        line = [found["pelvis"], at["spine"], found["neck"]]
    else:
        make("neck", lambda: shoulders + _NECK_RISE * leg * up)
        ears = 0.5 * (at["left_ear"] + at["right_ear"])
        make("head", lambda: found["neck"] + HEAD * leg * _unit(ears - found["neck"]))
        line = [found["pelvis"], found["neck"]]
    for name in (name for name in names if name in SPINE):
        make(name, lambda name=name: _along(line, SPINE[name]))  # type: ignore[misc]
    for side in ("left", "right"):
        if f"{side}_collar" in names:
            outer, inner = found[f"{side}_shoulder"], found["neck"]
            make(f"{side}_collar", lambda a=inner, b=outer: (1 - COLLAR) * a + COLLAR * b)  # type: ignore[misc]
        if f"{side}_foot_index" in at:
            ankle, tip = at[f"{side}_ankle"], at[f"{side}_foot_index"]
            found[f"{side}_foot"] = ankle + _BALL * (tip - ankle)
            found[f"{side}_toe"] = ankle + _BALL * (1 + TOE) * (tip - ankle)
    joints = np.zeros((len(points), len(names), 3))
    missing = []
    for index, name in enumerate(names):
        if name in found:
            joints[:, index] = found[name]
        else:
            missing.append(name)
    make_up_feet(joints, names, missing)
    return joints, [name for name in names if name in made_up or name in missing]


def _leg(at: _Points) -> float:
    halves = [
        (f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in (("hip", "knee"), ("knee", "ankle"))
    ]
    return 0.5 * float(sum(np.median(np.linalg.norm(at[a] - at[b], axis=1)) for a, b in halves))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30)


def _along(line: list[np.ndarray], share: float) -> np.ndarray:
    """The point at ``share`` of the way along a line of points (T, 3)."""
    lengths = [float(np.median(np.linalg.norm(b - a, axis=1))) for a, b in zip(line[:-1], line[1:], strict=True)]
    left = share * sum(lengths)
    for start, end, length in zip(line[:-1], line[1:], lengths, strict=True):
        if left <= length and length > 0:
            return start + (end - start) * (left / length)
        left -= length
    return line[-1]
