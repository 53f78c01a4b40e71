"""Arrays of joints or of feature vectors: their unit and the axis that points up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2t_fast.data.folder import check_finite, check_motion
from m2t_fast.errors import UserError
from m2t_fast.motion.features import FEATURE_SIZES, feature_size, recover_joints, why_implausible
from m2t_fast.motion.formats.keypoints import LAYOUTS, joints_of_keypoints
from m2t_fast.motion.from_capture import PLACED, stand
from m2t_fast.motion.options import BODY, MotionOptions
from m2t_fast.motion.placement import METRES, guess_unit, leg_lengths, place, scale_to_body, stands_along_z, to_y_up
from m2t_fast.skeleton import Skeleton
from m2t_fast.wording import counted

DENORMALISED = "denormalised with --mean and --std"
"""The note on feature vectors that ``MotionOptions.mean`` and ``std`` were used for."""

_ADVICE = "cut these frames off, or fill them by interpolation"
_NOT_METRES = 10.0  # a leg of more units shows that the unit of a joint file is no metre


def expected(skeleton: Skeleton) -> str:
    """The shapes that arrays may have."""
    return f"(frames, {skeleton.joints}, 3) joints or (frames, {feature_size(skeleton)}) features"


def check_numbers(path: str | Path, array: np.ndarray) -> np.ndarray:
    """An array of floats.

    Raises:
        UserError: another type.
    """
    if array.dtype.hasobject:
        raise UserError(f"{path}: not a .npy file of numbers (an array of objects)")
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise UserError(f"{path}: dtype {array.dtype}, expected float16, float32 or float64")
    return array


def read_joints(
    path: str | Path, array: np.ndarray, skeleton: Skeleton, options: MotionOptions, units_per_metre: float
) -> tuple[np.ndarray, float, list[str]]:
    """Joints (T, J, 3), the metres in their unit, and notes. ``units_per_metre`` are those of the run.

    Raises:
        UserError: another shape, or values that are not finite.
    """
    if array.ndim == 2:
        raise UserError(f"{path}: shape {array.shape}, expected {expected(skeleton)}")
    if array.ndim == 3 and array.shape[2] == 3:
        layout = next((name for name, points in LAYOUTS.items() if len(points) == array.shape[1]), None)
        if layout is not None:
            names = " or ".join(f"--joints {name}" for name in LAYOUTS if len(LAYOUTS[name]) == array.shape[1])
            raise UserError(f"{path}: {array.shape[1]} joints: keypoints of video? {names} says which")
    joints = check_motion(array, path, _ADVICE)
    if joints.shape[1] != skeleton.joints:
        raise UserError(
            f"{path}: {joints.shape[1]} joints, but the run reads {skeleton.joints} ({skeleton.name}); expected "
            f"{expected(skeleton)}"
        )
    joints = to_y_up(joints, options.up or "y")
    if options.unit == BODY:
        metres, said = scale_to_body(joints, skeleton)
    elif options.unit is not None:
        metres, said = METRES[options.unit], f"unit {options.unit}"
    elif np.median(leg_lengths(joints, skeleton)) <= _NOT_METRES:
        metres, said = 1.0, "unit m"
    elif units_per_metre != 1.0:
        metres, said = 1.0 / units_per_metre, "the run's unit"
    else:
        metres, said = guess_unit(joints, skeleton, ("cm", "mm", "in", *(["kit"] if skeleton.name == "kit" else [])))
    notes = [f"{skeleton.joints} joints", said]
    turned = options.up is None and stands_along_z(joints * metres, skeleton)
    notes.append(f"{(options.up or 'y').upper()} up" + (" (but the body stands along Z: --up z?)" if turned else ""))
    if options.align:
        joints = place(joints, skeleton)
        notes.append(PLACED)
    return joints, metres, notes


def read_features(
    path: str | Path, array: np.ndarray, skeleton: Skeleton, options: MotionOptions
) -> tuple[np.ndarray, float, list[str]]:
    """Joints (T, J, 3) of feature vectors (T, 263 or 251), the metres in their unit, and notes.

    Raises:
        UserError: those of the other skeleton, values that are not finite, or joints that are not a body.
    """
    size = array.shape[1]
    if FEATURE_SIZES[size] is not skeleton:
        raise UserError(
            f"{path}: {size} features of {FEATURE_SIZES[size].joints} joints, but the run reads {skeleton.joints} "
            f"({skeleton.name}); expected {expected(skeleton)}"
        )
    if len(array) == 0:
        raise UserError(f"{path}: no frames (shape {array.shape}), expected at least one")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{path}: NaN or infinite values in {(~finite).sum()} of {counted(len(array), 'frame')}, first in frame "
            f"{(~finite).argmax()} ({_ADVICE})"
        )
    features = array.astype(np.float64)
    notes = [f"{size} features"]
    if options.mean is not None and options.std is not None:
        features = features * options.std + options.mean
        notes.append(DENORMALISED)
    with np.errstate(over="ignore", invalid="ignore"):
        joints = recover_joints(features)
    if not np.isfinite(joints).all() or np.abs(joints).max() > np.finfo(np.float32).max:
        raise UserError(f"{path}: features too large to be a motion")
    if options.unit == BODY:
        metres, said = scale_to_body(joints, skeleton)
    elif options.unit is not None:
        metres, said = METRES[options.unit], f"unit {options.unit}"
    elif skeleton.name == "kit" and np.median(leg_lengths(joints, skeleton)) > _NOT_METRES:
        metres, said = METRES["kit"], "unit kit (KIT-ML as distributed)"
    else:
        metres, said = 1.0, "unit m"
    reason = why_implausible(joints, skeleton, 1.0 / metres)
    if reason is not None and options.mean is None:
        raise UserError(
            f"{path}: no body: {reason}; features normalised by a generator need --mean FILE --std FILE, the mean and "
            "standard deviation (.npy) of the data set it was trained on"
        )
    if reason is not None:
        raise UserError(f"{path}: no body after --mean and --std: {reason}; are they of another data set?")
    return joints, metres, [*notes, said]


def read_keypoints(
    path: str | Path, array: np.ndarray, skeleton: Skeleton, options: MotionOptions
) -> tuple[np.ndarray, float, list[str]]:
    """Joints (T, J, 3) in metres, placed, of keypoints (T, K, 3 or more) of ``options.layout``, and notes.

    Raises:
        UserError: another number of points, flat keypoints, or values that are not finite.
    """
    layout = options.layout or ""
    count = len(LAYOUTS[layout])
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[1] == count and array.shape[2] == 2:
        raise UserError(f"{path}: flat keypoints (shape {array.shape}), expected (frames, {count}, 3) in space")
    if array.ndim != 3 or array.shape[1] != count or array.shape[2] < 3:
        raise UserError(f"{path}: shape {array.shape}, expected (frames, {count}, 3) for --joints {layout}")
    points = array[..., :3].astype(np.float64)
    if len(points) == 0:
        raise UserError(f"{path}: no frames (shape {array.shape}), expected at least one")
    check_finite(points, path, _ADVICE)
    if np.abs(points).max() > 1e30:
        raise UserError(f"{path}: coordinates of {np.abs(points).max():.3g} are too large to be a motion")
    joints, made_up = joints_of_keypoints(points, layout, skeleton)
    joints, notes = stand(joints, joints[0], skeleton, options, camera=True)
    return joints, 1.0, [f"{count} keypoints ({layout}), estimated {', '.join(made_up)}", *notes]
