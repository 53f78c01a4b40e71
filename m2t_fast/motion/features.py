"""Joint positions from the feature vectors of HumanML3D (263 numbers a frame) and KIT-ML (251)."""

from __future__ import annotations

import numpy as np

from m2t_fast.motion.bvh import axis_rotation
from m2t_fast.motion.placement import leg_lengths
from m2t_fast.skeleton import SKELETONS, Skeleton

_LEG = (0.4, 1.4)  # metres from hip to ankle of anybody
_LEG_SPREAD = 0.5  # legs of true features keep their length; those of generators vary by a few per cent
_ROTATION_ERROR = 0.3  # columns of the 6D rotations have length 1 before normalisation


def feature_size(skeleton: Skeleton) -> int:
    """Numbers a frame: 4 of the root, 3 + 6 of every other joint, 3 velocities of every joint, 4 foot contacts."""
    return 4 + (skeleton.joints - 1) * 9 + skeleton.joints * 3 + 4


FEATURE_SIZES: dict[int, Skeleton] = {feature_size(skeleton): skeleton for skeleton in SKELETONS}
"""263: HumanML3D, 251: KIT-ML."""


def recover_joints(features: np.ndarray) -> np.ndarray:
    """Joint positions (T, J, 3) float64 of feature vectors (T, 263 or 251), in the features' own unit.

    Read of every frame t: ``[0]`` half the angle about Y by which the heading changes from t to t + 1, ``[1:3]`` the
    step (x, z) of the root from t to t + 1 seen with the heading of t + 1, ``[3]`` the root's height, and
    ``[4:4 + 3 (J - 1)]`` the other joints: x and z from the root, y from the floor, seen with the heading of t.
    Rotations, velocities and foot contacts, which say the same again, are not read. The first frame has its root at
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


def why_implausible(features: np.ndarray, joints: np.ndarray, skeleton: Skeleton, units_per_metre: float) -> str | None:
    """What says that features are still normalised (mean 0, standard deviation 1); None where they look true.

    Args:
        features: (T, 263 or 251).
        joints: (T, J, 3), what :func:`recover_joints` gave.
        units_per_metre: the unit of ``joints``.
    """
    legs = leg_lengths(joints, skeleton) / units_per_metre
    low, middle, high = np.percentile(legs, (5, 50, 95))
    if not _LEG[0] <= middle <= _LEG[1]:
        return f"legs of {middle:.2g} m"
    if (high - low) / middle > _LEG_SPREAD:
        return f"legs that change from {low:.2g} to {high:.2g} m"
    start = 4 + 3 * (skeleton.joints - 1)
    rotations = features[:, start : start + 6 * (skeleton.joints - 1)].reshape(-1, 3)
    length = float(np.median(np.linalg.norm(rotations, axis=1)))
    if rotations.any() and abs(length - 1.0) > _ROTATION_ERROR:
        return f"rotations whose columns have length {length:.2g}, not 1"
    return None
