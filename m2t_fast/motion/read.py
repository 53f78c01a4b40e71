"""One entry for every kind of motion file: joints as a run reads them, and what was assumed about the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2t_fast.data.folder import check_motion, load_array
from m2t_fast.data.preprocessing import Statistics
from m2t_fast.errors import UserError
from m2t_fast.motion.bvh import read_bvh
from m2t_fast.motion.features import FEATURE_SIZES, feature_size, recover_joints, why_implausible
from m2t_fast.motion.joint_maps import JointMap, map_joints
from m2t_fast.motion.placement import METRES, guess_unit, guess_up, leg_lengths, place, stands_along_z, to_y_up
from m2t_fast.motion.resample import resample
from m2t_fast.skeleton import Skeleton

SUFFIXES: tuple[str, ...] = (".npy", ".bvh")
"""Endings of motion files, in lower case."""

DENORMALISED = "denormalised with --mean and --std"
"""The note on feature vectors that ``MotionOptions.mean`` and ``std`` were used for."""

_NOT_METRES = 10.0  # a leg of more units shows that the unit of a joint file is no metre
_NOT_METRES_MEAN = 10.0  # nor is it where the joints of a data set are on average so high
_POSE_JUMP, _POSE_RATIO = 0.1, 10.0  # metres, and times the usual step: what a pose put in front of a motion makes


@dataclass(frozen=True)
class MotionOptions:
    """What is known about motion files; None: found out from the file.

    Args:
        fps: frames per second (None: those of the .bvh file; of an array those of the skeleton's data set).
        joint_map: our joint names -> joints of the .bvh files, before the names of the known skeletons.
        mean: (263,) or (251,), with ``std`` what normalised feature vectors were normalised with.
        std: like ``mean``.
        unit: of positions, one of ``placement.METRES``.
        up: the axis that points up, "y" or "z".
        align: place joint files as the training data stand, as is always done with .bvh files.

    Raises:
        ValueError: a value out of range; the message names it.
    """

    fps: float | None = None
    joint_map: JointMap | None = None
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    unit: str | None = None
    up: str | None = None
    align: bool = False

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise ValueError(f"fps: got {self.fps}, expected frames per second above 0")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"{'std' if self.std is None else 'mean'}: not given, expected mean and std together")
        if self.unit is not None and self.unit not in METRES:
            raise ValueError(f"unit: got {self.unit!r}, expected one of {', '.join(METRES)}")
        if self.up not in (None, "y", "z"):
            raise ValueError(f"up: got {self.up!r}, expected y or z")


@dataclass(frozen=True)
class Motion:
    """One motion of a file.

    Attributes:
        joints: (T, J, 3) float32 at ``skeleton.fps`` frames per second, Y up, ``units_per_metre`` units in a metre.
        notes: what was assumed about the file, one phrase each.
        label: which motion of the file it is ("#2"); "" where the file has one.
    """

    joints: np.ndarray
    notes: list[str]
    label: str = ""


def read_motions(
    path: str | Path, skeleton: Skeleton, options: MotionOptions | None = None, units_per_metre: float = 1.0
) -> list[Motion]:
    """Reads all motions of a file of any kind: arguments and errors as of :func:`read_motion`."""
    joints, notes = read_motion(path, skeleton, options, units_per_metre)
    return [Motion(joints, notes)]


def read_motion(
    path: str | Path, skeleton: Skeleton, options: MotionOptions | None = None, units_per_metre: float = 1.0
) -> tuple[np.ndarray, list[str]]:
    """Reads a motion file of any kind.

    A ``.bvh`` file; or a ``.npy`` file of joints (T, J, 3) or of feature vectors (T, 263) for 22 joints, (T, 251) for
    21. ``docs/your-motion.md`` tells what is done with each.

    Args:
        path: the file.
        skeleton: the joints that are wanted.
        options: what is known about the file.
        units_per_metre: the unit that is wanted, see :func:`units_of`.

    Returns:
        (T, J, 3) float32 at ``skeleton.fps`` frames per second, Y up, ``units_per_metre`` units in a metre; and what
        was assumed, one phrase each.

    Raises:
        UserError: the file is unreadable, is none of these, or does not fit ``skeleton`` or ``options``.
    """
    options = options or MotionOptions()
    if Path(path).suffix.lower() != ".bvh":
        return read_array(load_array(path, _expected(skeleton)), skeleton, options, units_per_metre, path)
    joints, fps, notes = _read_bvh(path, skeleton, options)
    return _as_wanted(path, joints, fps, 1.0, notes, skeleton, units_per_metre)


def read_array(
    array: np.ndarray,
    skeleton: Skeleton,
    options: MotionOptions | None = None,
    units_per_metre: float = 1.0,
    name: str | Path = "motion",
) -> tuple[np.ndarray, list[str]]:
    """A motion that is an array already, as :func:`read_motion` reads one from a .npy file; ``name`` is for messages.

    Raises:
        UserError: as there.
    """
    options = options or MotionOptions()
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise UserError(f"{name}: dtype {array.dtype}, expected float16, float32 or float64")
    if array.ndim == 3 and array.shape[0] == 1 and array.shape[2] in FEATURE_SIZES:
        array = array[0]  # a batch of one
    fps = options.fps or skeleton.fps
    if array.ndim == 2 and array.shape[1] in FEATURE_SIZES:
        joints, metres, notes = _read_features(name, array, skeleton, options)
    else:
        joints, metres, notes = _read_joints(name, array, skeleton, options, units_per_metre)
    notes.insert(1, f"{fps:g} frames per second" + ("" if options.fps else " assumed (--fps)"))
    return _as_wanted(name, joints, fps, metres, notes, skeleton, units_per_metre)


def _as_wanted(
    name: str | Path,
    joints: np.ndarray,
    fps: float,
    metres: float,
    notes: list[str],
    skeleton: Skeleton,
    units_per_metre: float,
) -> tuple[np.ndarray, list[str]]:
    """Joints (T, J, 3) whose unit is ``metres``, in the unit and at the frame rate that are wanted, and all notes."""
    scale = metres * units_per_metre
    if abs(scale - 1.0) > 1e-9:
        joints = joints.astype(np.float64) * scale
    if units_per_metre != 1.0 and abs(scale - 1.0) > 1e-9:
        notes.append(f"in the run's unit ({units_per_metre:g} to the metre)")
    try:
        resampled = resample(joints, fps, skeleton.fps)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    if resampled is not joints:
        notes.append(f"resampled to {skeleton.fps:g} ({len(joints)} frames to {len(resampled)})")
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(resampled, dtype=np.float32)
    if not np.isfinite(result).all():
        raise UserError(f"{name}: coordinates of {np.abs(resampled).max():.3g} are too large to be a motion")
    return result, notes


def units_of(statistics: Statistics, skeleton: Skeleton) -> float:
    """Units in a metre of the data that ``statistics`` were made from: 1, or KIT-ML's where the mean height of the
    joints cannot be metres."""
    if skeleton.name == "kit" and statistics.mean[1] > _NOT_METRES_MEAN:
        return 1.0 / METRES["kit"]
    return 1.0


def motion_files(folder: str | Path) -> list[Path]:
    """The .npy and .bvh files of a folder and of the folders in it, sorted; hidden ones are left out.

    Raises:
        UserError: there are none.
    """
    folder = Path(folder)
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise UserError(f"{folder}: no motion files in it; expected {' or '.join(SUFFIXES)}")
    return found


def read_vector(path: str | Path, skeleton: Skeleton) -> np.ndarray:
    """A mean or standard deviation of feature vectors: float64 (263,) or (251,), as ``skeleton`` has them.

    Raises:
        UserError: the file is unreadable or holds something else.
    """
    size = feature_size(skeleton)
    vector = np.squeeze(load_array(path, f"({size},)")).astype(np.float64)
    if vector.shape != (size,):
        raise UserError(f"{path}: shape {vector.shape}, expected ({size},) for {skeleton.joints} joints")
    if not np.isfinite(vector).all():
        raise UserError(f"{path}: NaN or infinite values")
    return vector


def _expected(skeleton: Skeleton) -> str:
    return f"(frames, {skeleton.joints}, 3) joints or (frames, {feature_size(skeleton)}) features"


def _read_joints(
    path: str | Path, array: np.ndarray, skeleton: Skeleton, options: MotionOptions, units_per_metre: float
) -> tuple[np.ndarray, float, list[str]]:
    """Joints (T, J, 3), the metres in their unit, and notes. ``units_per_metre`` are those of the run."""
    if array.ndim == 2:
        raise UserError(f"{path}: shape {array.shape}, expected {_expected(skeleton)}")
    joints = check_motion(array, path)
    if joints.shape[1] != skeleton.joints:
        raise UserError(
            f"{path}: {joints.shape[1]} joints, but the run reads {skeleton.joints} ({skeleton.name}); expected "
            f"{_expected(skeleton)}"
        )
    joints = to_y_up(joints, options.up or "y")
    if options.unit is not None:
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
        notes.append("placed on the floor at the origin, facing +Z")
    return joints, metres, notes


def _read_features(
    path: str | Path, array: np.ndarray, skeleton: Skeleton, options: MotionOptions
) -> tuple[np.ndarray, float, list[str]]:
    """Joints (T, J, 3), the metres in their unit, and notes."""
    size = array.shape[1]
    if FEATURE_SIZES[size] is not skeleton:
        raise UserError(
            f"{path}: {size} features of {FEATURE_SIZES[size].joints} joints, but the run reads {skeleton.joints} "
            f"({skeleton.name}); expected {_expected(skeleton)}"
        )
    if len(array) == 0:
        raise UserError(f"{path}: no frames (shape {array.shape}), expected at least one")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{path}: NaN or infinite values in {(~finite).sum()} of {len(array)} frames, first in frame "
            f"{(~finite).argmax()}"
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
    if options.unit is not None:
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


def _read_bvh(path: str | Path, skeleton: Skeleton, options: MotionOptions) -> tuple[np.ndarray, float, list[str]]:
    """Joints (T, J, 3) in metres, placed, their frames per second, and notes."""
    bvh = read_bvh(path)
    if options.fps is None and not (bvh.frame_time > 0 and np.isfinite(bvh.frame_time)):
        raise UserError(f"{path}: frame time {bvh.frame_time:g}, expected seconds above 0 (--fps N overrides it)")
    fps = options.fps or 1.0 / bvh.frame_time
    joints, rest, names = map_joints(path, bvh, skeleton, options.joint_map)
    count = sum(not name.endswith(".end") for name in bvh.names)
    notes = [f".bvh of {count} joints", names, f"{fps:.5g} frames per second" + (" (--fps)" if options.fps else "")]
    if bvh.added:
        notes.append("position channels added to the offsets")
    if options.unit is None:
        metres, said = guess_unit(joints, skeleton)
    else:
        metres, said = METRES[options.unit], f"unit {options.unit}"
    up, upright = guess_up(joints, rest, skeleton) if options.up is None else (options.up, f"{options.up.upper()} up")
    notes += [said, upright]
    joints = to_y_up(joints * metres, up)
    if _begins_with_a_pose(joints):
        joints = joints[1:]
        notes.append("first frame left out (a pose put in front: the motion jumps after it)")
    notes.append("placed on the floor at the origin, facing +Z")
    return place(joints, skeleton), fps, notes


def _begins_with_a_pose(joints: np.ndarray) -> bool:
    """Whether the first of the frames (T, J, 3), metres, is a T-pose and no part of the motion, as in CMU's files."""
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=2).mean(axis=1)
    return len(steps) > 2 and bool(steps[0] > max(_POSE_JUMP, _POSE_RATIO * np.percentile(steps[1:], 95)))
