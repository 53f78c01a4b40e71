"""Marker captures (.c3d) whose labels are a known set: joint centres estimated from markers on the skin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.formats.c3d_file import read_points
from m2t_fast.motion.joint_names import COLLAR, JOINT_NAMES, SPINE
from m2t_fast.motion.matching.joints import make_up_feet
from m2t_fast.skeleton import Skeleton
from m2t_fast.wording import counted

# Our words for markers, and the labels that sets use for them, first come first served: Plug-in Gait, CMU's.
_LABELS: dict[str, tuple[str, ...]] = {
    "front_waist": ("ASI", "ASIS", "FWT"), "back_waist": ("PSI", "PSIS", "BWT"), "knee": ("KNE", "KNEE"),
    "ankle": ("ANK", "ANKLE"), "toe": ("TOE", "MT5"), "shoulder": ("SHO", "SHOULDER", "ACR"),
    "elbow": ("ELB", "ELBOW"), "wrist_thumb": ("WRA", "IWR"), "wrist_little": ("WRB", "OWR"), "front_head": ("FHD",),
    "back_head": ("BHD",),
}  # fmt: skip
_MIDDLE = {"nape": ("C7",), "collar": ("CLAV", "STRN")}
_OPTIONAL = ("wrist_little", "back_head", "toe")

ESTIMATED = "joint centres estimated from markers (some centimetres off)"

# Shares of the width of the pelvis between the front markers. Hips: Bell et al. 1990.
_HIP_OUT, _HIP_BACK, _HIP_DOWN = 0.36, 0.22, 0.30
_KNEE_IN, _ANKLE_IN, _SHOULDER_DOWN, _HEAD_DOWN, _PELVIS_UP = 0.2, 0.14, 0.2, 0.35, 0.35


def read_c3d(path: str | Path, skeleton: Skeleton) -> tuple[np.ndarray, float, list[str]]:
    """Joints (T, J, 3) in the file's unit and axes, its frames per second, and notes.

    Markers that are lost for some frames are interpolated.

    Raises:
        UserError: unreadable or truncated, or the labels belong to no known set.
    """
    labels, points, rate = read_points(path)
    found: dict[str, np.ndarray] = {}
    missing = []
    by_label = {label.rsplit(":", 1)[-1].upper().replace("_", ""): n for n, label in reversed(list(enumerate(labels)))}
    wanted = {f"{side}_{name}": [f"{side[0].upper()}{one}" for one in these] for name, these in _LABELS.items()
              for side in ("left", "right")}  # fmt: skip
    wanted |= {name: list(these) for name, these in _MIDDLE.items()}
    gaps = 0
    for name, these in wanted.items():
        index = next((by_label[one] for one in these if one in by_label), None)
        filled = None if index is None else _filled(points[:, index])
        if filled is not None:
            gaps += int(np.isnan(points[:, index or 0]).any())
            found[name] = filled
        elif not name.endswith(_OPTIONAL):
            missing.append(these[0])
    if missing:
        shown = ", ".join(labels[:30]) or "no markers"
        raise UserError(
            f"{path}: markers of no known set (Plug-in Gait, CMU): no {', '.join(missing[:6])}; it has {shown}"
            "; solve it to a skeleton and export .bvh"
        )
    joints = _joints(found, skeleton)
    notes = [f".c3d of {len(labels)} points", ESTIMATED, f"{rate:.5g} frames per second"]
    if gaps:
        notes.append(f"{counted(gaps, 'marker')} interpolated over gaps")
    return joints, rate, notes


def _filled(track: np.ndarray) -> np.ndarray | None:
    """A marker's track (T, 3) with its gaps interpolated; None where it is lost in most frames."""
    there = np.isfinite(track).all(axis=1)
    if there.mean() < 0.5:
        return None
    frames = np.arange(len(track))
    return np.stack([np.interp(frames, frames[there], track[there, axis]) for axis in range(3)], axis=1)


def _joints(at: dict[str, np.ndarray], skeleton: Skeleton) -> np.ndarray:
    front = 0.5 * (at["left_front_waist"] + at["right_front_waist"])
    back = 0.5 * (at["left_back_waist"] + at["right_back_waist"])
    width = float(np.median(np.linalg.norm(at["left_front_waist"] - at["right_front_waist"], axis=1)))
    left = _unit(at["left_front_waist"] - at["right_front_waist"])
    up = _unit(np.cross(front - back, left))
    forward = np.cross(left, up)
    found: dict[str, np.ndarray] = {}
    middle = front - width * (_HIP_BACK * forward + _HIP_DOWN * up)
    found["pelvis"] = middle + _PELVIS_UP * width * up
    for side, sign in (("left", 1.0), ("right", -1.0)):
        out = sign * width * left
        found[f"{side}_hip"] = middle + _HIP_OUT * out
        found[f"{side}_knee"] = at[f"{side}_knee"] - _KNEE_IN * out
        found[f"{side}_ankle"] = at[f"{side}_ankle"] - _ANKLE_IN * out
        if f"{side}_toe" in at:
            found[f"{side}_foot"] = at[f"{side}_toe"]
        found[f"{side}_elbow"] = at[f"{side}_elbow"]
        little = at.get(f"{side}_wrist_little", at[f"{side}_wrist_thumb"])
        found[f"{side}_wrist"] = 0.5 * (at[f"{side}_wrist_thumb"] + little)
    neck = found["neck"] = 0.5 * (at["nape"] + at["collar"])
    trunk = _unit(neck - found["pelvis"])
    for side in ("left", "right"):
        shoulder = found[f"{side}_shoulder"] = at[f"{side}_shoulder"] - _SHOULDER_DOWN * width * trunk
        found[f"{side}_collar"] = (1 - COLLAR) * neck + COLLAR * shoulder
    skull = np.mean([at[name] for name in at if name.endswith("_head")], axis=0)
    found["head"] = skull - _HEAD_DOWN * width * _unit(skull - neck)
    for name, share in SPINE.items():
        found[name] = found["pelvis"] + share * (neck - found["pelvis"])
    names = JOINT_NAMES[skeleton.name]
    joints = np.zeros((len(front), len(names), 3))
    missing = []
    for index, name in enumerate(names):
        if name in found:
            joints[:, index] = found[name]
        else:
            missing.append(name)
    make_up_feet(joints, names, missing)
    return joints


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30)
