"""Joint positions from the feature vectors of HumanML3D (263 numbers per frame) and KIT-ML (251)."""

from __future__ import annotations

import numpy as np

from m2t_fast.motion.bvh import axis_rotation
from m2t_fast.motion.joint_names import JOINT_NAMES
from m2t_fast.skeleton import SKELETONS, Skeleton

_LIMBS = {
    "thigh": ("hip", "knee"),
    "shin": ("knee", "ankle"),
    "upper arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
}
_LIMB = (0.12, 0.75)  # metres of anybody's
# Left and right are alike and keep their length: to 2% in real motions, to some 10% in generated ones. These limits
# pass all of 252 real motions and find every one of them when it is normalised.
_LIMB_RATIO, _LIMB_CHANGE = 1.5, 0.4


def feature_size(skeleton: Skeleton) -> int:
    """Numbers per frame: 4 of the root, 3 + 6 of every other joint, 3 velocities of every joint, 4 foot contacts."""
    return 4 + (skeleton.joints - 1) * 9 + skeleton.joints * 3 + 4


FEATURE_SIZES: dict[int, Skeleton] = {feature_size(skeleton): skeleton for skeleton in SKELETONS}
"""263: HumanML3D, 251: KIT-ML."""


def recover_joints(features: np.ndarray) -> np.ndarray:
    """Joint positions (T, J, 3) float64 of feature vectors (T, 263 or 251), in the features' own unit.

    Read from every frame t: ``[0]`` half the angle about Y by which the heading changes from t to t + 1, ``[1:3]`` the
    step (x, z) of the root from t to t + 1 seen with the heading of t + 1, ``[3]`` the root's height, and
    ``[4:4 + 3 (J - 1)]`` the other joints: x and z from the root, y from the floor, seen with the heading of t.
    Rotations, velocities and foot contacts, which repeat this, are not read. The first frame has its root at
    x = z = 0 and faces +Z, as in HumanML3D's ``new_joints``.

    Raises:
        ValueError: another shape.
    """
    if features.ndim != 2 or features.shape[1] not in FEATURE_SIZES:
        sizes = " or ".join(str(size) for size in sorted(FEATURE_SIZES))
        raise ValueError(f"features: got shape {features.shape}, expected (frames, {sizes})")
    features = features.astype(np.float64)
    others = FEATURE_SIZES[features.shape[1]].joints - 1
    half_angle = np.zeros(len(features))
    half_angle[1:] = np.cumsum(features[:-1, 0])
    to_world = axis_rotation(1, -2.0 * half_angle)  # the features are seen after a turn by +2 half angles
    steps = np.zeros((len(features), 3))
    steps[1:, [0, 2]] = features[:-1, 1:3]
    root = np.cumsum((to_world @ steps[..., None])[..., 0], axis=0)
    body = features[:, 4 : 4 + 3 * others].reshape(len(features), others, 3) @ to_world.transpose(0, 2, 1)
    body[..., [0, 2]] += root[:, None, [0, 2]]
    root[:, 1] = features[:, 3]
    return np.concatenate([root[:, None], body], axis=1)


def why_implausible(joints: np.ndarray, skeleton: Skeleton, units_per_metre: float) -> str | None:
    """Why recovered joints cannot be a body, as happens when the features are still normalised (mean 0, standard
    deviation 1); None if they look like one.

    Args:
        joints: (T, J, 3), what :func:`recover_joints` gave.
        units_per_metre: the unit of ``joints``.
    """
    names = JOINT_NAMES[skeleton.name]
    lengths = {}
    for limb, (upper, lower) in _LIMBS.items():
        for side in ("left", "right"):
            bone = joints[:, names.index(f"{side}_{upper}")] - joints[:, names.index(f"{side}_{lower}")]
            with np.errstate(over="ignore", invalid="ignore"):  # infinite is too long
                lengths[f"{side} {limb}"] = np.linalg.norm(bone, axis=1) / units_per_metre
    usual = {name: float(np.median(length)) for name, length in lengths.items()}
    for name, length in usual.items():
        if not _LIMB[0] <= length <= _LIMB[1]:
            return f"a {name} of {length:.2g} m"
    for limb in _LIMBS:
        left, right = usual[f"left {limb}"], usual[f"right {limb}"]
        if max(left, right) > _LIMB_RATIO * min(left, right):
            return f"a left {limb} of {left:.2g} m and a right one of {right:.2g} m"
    change = np.median([np.subtract(*np.percentile(of, (95, 5))) / usual[name] for name, of in lengths.items()])
    if change > _LIMB_CHANGE:
        return f"limbs whose length changes by {change:.0%}"
    return None
