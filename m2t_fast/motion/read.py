"""One entry for every kind of motion file: joints as a run reads them, and what was assumed about the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast.data.folder import load_array
from m2t_fast.data.preprocessing import Statistics
from m2t_fast.errors import UserError
from m2t_fast.motion import arrays
from m2t_fast.motion.bvh import read_bvh
from m2t_fast.motion.capture import Capture
from m2t_fast.motion.features import FEATURE_SIZES, feature_size, why_implausible
from m2t_fast.motion.formats import c3d, generated, pickled, smpl, smpl_files, torch_files
from m2t_fast.motion.formats.acclaim import read_amc
from m2t_fast.motion.formats.gltf import read_gltf
from m2t_fast.motion.from_capture import joints_of_capture, stand
from m2t_fast.motion.kinds import CAPTURES, kind_of, refusal
from m2t_fast.motion.options import MotionOptions
from m2t_fast.motion.placement import METRES
from m2t_fast.motion.resample import resample
from m2t_fast.skeleton import HUMANML3D, Skeleton
from m2t_fast.wording import counted

DENORMALISED = arrays.DENORMALISED

_NOT_METRES_MEAN = 10.0  # the unit is no metre where the joints of a data set are on average so high


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


@dataclass(frozen=True)
class _Found:
    """A motion as its file has it: ``joints`` (T, J, 3), Y up, ``metres`` in their unit, at ``fps``."""

    joints: np.ndarray
    metres: float
    fps: float
    notes: list[str]
    label: str = ""


def read_motion(
    path: str | Path, skeleton: Skeleton, options: MotionOptions | None = None, units_per_metre: float = 1.0
) -> tuple[np.ndarray, list[str]]:
    """Reads the motion of a file of any kind; ``docs/your-motion.md`` says how each is treated.

    Args:
        path: the file.
        skeleton: the joints that are wanted.
        options: what is known about the file.
        units_per_metre: the unit that is wanted, see :func:`units_of`.

    Returns:
        (T, J, 3) float32 at ``skeleton.fps`` frames per second, Y up, ``units_per_metre`` units in a metre; and what
        was assumed, one phrase each.

    Raises:
        UserError: the file is unreadable, is none of these, does not fit ``skeleton`` or ``options``, or holds several
            motions, which :func:`read_motions` reads.
    """
    motions = read_motions(path, skeleton, options, units_per_metre)
    if len(motions) > 1:
        labels = ", ".join(motion.label for motion in motions[:6])
        raise UserError(f"{path}: {len(motions)} motions ({labels}), expected one (caption RUN {path} reads them all)")
    return motions[0].joints, motions[0].notes


def read_motions(
    path: str | Path, skeleton: Skeleton, options: MotionOptions | None = None, units_per_metre: float = 1.0
) -> list[Motion]:
    """Reads all motions of a file of any kind, at least one: arguments and errors as of :func:`read_motion`."""
    found = _read(path, skeleton, options or MotionOptions(), units_per_metre)
    return [_finished(path, one, skeleton, units_per_metre) for one in found]


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
    found = _arrays(name, array, skeleton, options or MotionOptions(), units_per_metre)
    if len(found) > 1:
        raise UserError(f"{name}: {len(found)} motions (shape {array.shape}), expected one")
    motion = _finished(name, found[0], skeleton, units_per_metre)
    return motion.joints, motion.notes


def read_capture(path: str | Path, options: MotionOptions | None = None) -> Capture:
    """The named joints of a motion-capture file, in its own units and axes.

    Raises:
        UserError: the file is unreadable or has no named joints.
    """
    kind = kind_of(path)
    if kind not in CAPTURES:
        raise UserError(f"{path}: no joints with names, expected one of {', '.join(CAPTURES)}")
    return _capture(path, kind, options or MotionOptions())


def units_of(statistics: Statistics, skeleton: Skeleton) -> float:
    """Units per metre of the data that ``statistics`` were made from: 1, or KIT-ML's where the mean height of the
    joints cannot be metres."""
    if skeleton.name == "kit" and statistics.mean[1] > _NOT_METRES_MEAN:
        return 1.0 / METRES["kit"]
    return 1.0


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


def _finished(path: str | Path, found: _Found, skeleton: Skeleton, units_per_metre: float) -> Motion:
    """In the wanted unit, at the skeleton's frame rate, in float32."""
    joints, notes = found.joints, list(found.notes)
    scale = found.metres * units_per_metre
    if abs(scale - 1.0) > 1e-9:
        joints = joints.astype(np.float64) * scale
    if units_per_metre != 1.0 and abs(scale - 1.0) > 1e-9:
        notes.append(f"in the run's unit ({units_per_metre:g} to the metre)")
    try:
        resampled = resample(joints, found.fps, skeleton.fps)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if resampled is not joints:
        notes.append(f"resampled to {skeleton.fps:g} ({counted(len(joints), 'frame')} to {len(resampled):,})")
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(resampled, dtype=np.float32)
    if not np.isfinite(result).all():
        raise UserError(f"{path}: coordinates of {np.abs(resampled).max():.3g} are too large to be a motion")
    return Motion(result, notes, found.label)


def _read(path: str | Path, skeleton: Skeleton, options: MotionOptions, units_per_metre: float) -> list[_Found]:
    kind = kind_of(path)
    if kind == ".c3d":
        joints, rate, notes = c3d.read_c3d(path, skeleton)
        joints, more = stand(joints, joints[0], skeleton, options)
        return [_Found(joints, 1.0, options.fps or rate, notes + more)]
    if kind in CAPTURES:
        joints, fps, notes = joints_of_capture(path, _capture(path, kind, options), kind, skeleton, options)
        return [_Found(joints, 1.0, fps, notes)]
    if (reason := refusal(kind)) is not None:
        raise UserError(f"{path}: {reason}")
    content: Any
    if kind == ".npz":
        content = smpl.load_npz(path)
    elif kind == ".pt":
        content = pickled.plain_arrays(torch_files.load_torch(path))
    elif kind == ".pkl":
        content = pickled.plain_arrays(pickled.load_pickle(path))
    else:
        content = pickled.plain_arrays(pickled.load_npy(path))
    try:
        return _motions_in(path, content, skeleton, options, units_per_metre)
    except UserError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: arrays whose types or shapes do not fit together ({reason})") from None


def _motions_in(
    path: str | Path, content: Any, skeleton: Skeleton, options: MotionOptions, units_per_metre: float
) -> list[_Found]:
    """The motions of an array, of a dictionary as generators and estimators write them, or of a list of these."""
    if isinstance(content, np.ndarray):
        if content.dtype.hasobject and content.ndim == 1 and all(isinstance(o, np.ndarray | dict) for o in content):
            content = list(content)
        else:
            return _arrays(path, content, skeleton, options, units_per_metre)
    if isinstance(content, list) and content:
        return _listed(path, content, skeleton, options, units_per_metre)
    if isinstance(content, dict):
        results = generated.results_of(path, content)
        if results is not None:
            found = [_arrays(path, one, skeleton, options, units_per_metre) for one in results]
            return _labelled([one for several in found for one in several])
        people = smpl_files.find_parameters(path, content)
        if people:
            return _labelled(list(_people(path, people, skeleton, options)))
        joints = generated.joints_in(content)
        if joints is not None:
            if options.fps is None:
                options = dataclasses.replace(options, fps=smpl_files.rate_of(content))
            return _motions_in(path, joints, skeleton, options, units_per_metre)
        keys = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise UserError(
            f"{path}: no motion in it: it holds {keys}; expected SMPL parameters (poses, trans, betas), joints or a "
            f"generator's results (motion, lengths){smpl_files.unread_rotations(content)}"
        )
    raise UserError(f"{path}: no motion in it: a pickled {type(content).__name__}, expected a dictionary or an array")


def _listed(
    path: str | Path, content: list[Any], skeleton: Skeleton, options: MotionOptions, units_per_metre: float
) -> list[_Found]:
    """The motions of a list: of motions, of which each is labelled, or of the frames of one."""
    whole = all(isinstance(one, np.ndarray | dict) for one in content)
    if not whole or all(isinstance(one, np.ndarray) and one.ndim == 2 and one.shape[1] == 3 for one in content):
        try:
            array = np.asarray(content, dtype=np.float64)
        except (ValueError, TypeError):
            array = np.empty(0)
        if array.ndim < 3:
            raise UserError(f"{path}: no motion in it: a pickled list, expected a dictionary or an array")
        return _arrays(path, array, skeleton, options, units_per_metre)
    if len(content) > generated.MOST_SAMPLES:
        raise UserError(f"{path}: a list of {len(content):,}, expected at most {generated.MOST_SAMPLES:,} motions")
    found = [
        dataclasses.replace(one, label=(f"#{number}" if len(content) > 1 else "") + one.label)
        for number, part in enumerate(content)
        for one in _motions_in(path, part, skeleton, options, units_per_metre)
    ]
    return _longer(path, found)


def _longer(path: str | Path, found: list[_Found]) -> list[_Found]:
    """What was found, unless it is many motions of one frame, which may be the frames of one.

    Raises:
        UserError: it is such.
    """
    if len(found) > 1 and all(len(one.joints) == 1 for one in found):
        raise UserError(f"{path}: {len(found):,} motions of one frame each, or frames of one? save (frames, 22, 3)")
    return found


def _capture(path: str | Path, kind: str, options: MotionOptions) -> Capture:
    if kind == ".bvh":
        return read_bvh(path, mend=True)
    return read_gltf(path) if kind == ".glb" else read_amc(path, options.asf)


def _arrays(
    path: str | Path, array: np.ndarray, skeleton: Skeleton, options: MotionOptions, units_per_metre: float
) -> list[_Found]:
    """The motions of an array: features, keypoints, or joints of one or several samples."""
    array = arrays.check_numbers(path, array)
    if options.layout is None:
        people = smpl_files.find_in_array(path, array)
        if people:
            return _labelled(list(_people(path, people, skeleton, options)))
    if array.ndim == 3 and array.shape[0] == 1 and array.shape[2] in FEATURE_SIZES:
        array = array[0]  # a batch of one
    fps = options.fps or skeleton.fps
    rate = f"{fps:g} frames per second" + ("" if options.fps else " assumed (--fps)")
    if options.layout is not None:
        joints, metres, notes = arrays.read_keypoints(path, array, skeleton, options)
        return [_Found(joints, metres, fps, [notes[0], rate, *notes[1:]])]
    if array.ndim == 3 and len(array) and array.shape[2] in FEATURE_SIZES:  # a generator's batch
        found = [one for sample in array for one in _arrays(path, sample, skeleton, options, units_per_metre)]
        return _labelled(_longer(path, found))
    if array.ndim == 2 and array.shape[1] in FEATURE_SIZES:
        joints, metres, notes = arrays.read_features(path, array, skeleton, options)
        return [_Found(joints, metres, fps, [notes[0], rate, *notes[1:]])]
    shape = array.shape
    array = generated.with_axes(array)
    count = next((size for size in array.shape if size in generated.SMPL_COUNTS), 0)
    unsure = array.ndim != len(shape) or count in generated.RARE_COUNTS
    found = []
    for sample in generated.samples_of(array) or [array]:
        joints, metres, notes = arrays.read_joints(path, sample, skeleton, options, units_per_metre)
        reason = why_implausible(joints, skeleton, 1.0 / metres) if unsure else None
        if reason is not None:
            raise UserError(f"{path}: shape {shape}, which are not the joints of a body: {reason}")
        if array.ndim == 3 and array.shape[1] in generated.SMPL_COUNTS:
            notes[0] = f"the first {skeleton.joints} of {array.shape[1]} SMPL joints"
        found.append(_Found(joints, metres, fps, [notes[0], rate, *notes[1:]]))
    return _labelled(_longer(path, found))


def _labelled(found: list[_Found]) -> list[_Found]:
    """With one label per motion, where there are several."""
    if len(found) == 1:
        return found
    return [dataclasses.replace(one, label=one.label or f"#{number}") for number, one in enumerate(found)]


def _people(
    path: str | Path, people: list[smpl.Parameters], skeleton: Skeleton, options: MotionOptions
) -> Iterator[_Found]:
    """The motions of people whose SMPL parameters a file holds."""
    model = None if options.body_model is None else smpl.read_body_model(options.body_model)
    for person in people:
        joints, rest = smpl.joints_of(person, model)
        if skeleton is not HUMANML3D:
            capture = Capture(smpl.NAMES, smpl.PARENTS, joints, rest, 1.0)
            joints, _, notes = joints_of_capture(path, capture, "SMPL", skeleton, dataclasses.replace(options, fps=1.0))
            notes = [notes[1], *notes[3:]]
        else:
            joints, notes = stand(joints, rest, skeleton, options, camera=person.up is not None)
        fps = options.fps or person.fps or _VIDEO
        rate = f"{fps:g} frames per second" + ("" if options.fps or person.fps else " assumed (--fps)")
        body = smpl.FIXED if model is None else f"joints of {Path(options.body_model or '').name}"
        shape = "" if model is None or person.betas is None else " with betas"
        place = [smpl.STILL] if person.still else []
        yield _Found(joints, 1.0, fps, ["SMPL parameters", rate, body + shape, *place, *notes], person.label)


_VIDEO = 30.0  # frames per second of most video, which estimators do not write down
