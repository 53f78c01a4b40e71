"""Parameters of the SMPL family in what AMASS, other data sets and video estimators write, one set per person."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.features import why_implausible
from m2t_fast.motion.formats.smpl import JOINTS, Parameters, rotation_matrices
from m2t_fast.skeleton import HUMANML3D
from m2t_fast.wording import counted

MOTION_X = 322
"""Numbers per frame in Motion-X: root 3, body 63, hands 90, jaw 3, face 50 and 100, translation 3, shape 10."""

RATES = ("mocap_framerate", "mocap_frame_rate", "fps", "framerate")
"""What files call their frames per second."""

_WHOLE = (
    "poses", "pose_world", "pose", "smpl_poses", "smpl_pose", "smpl_thetas", "thetas", "fullpose", "full_pose",
    "pred_rotmat", "rotmat", "rots",
)  # fmt: skip
_FLAT_ALONE = ("fullpose", "full_pose")  # EDGE calls joints so, which look like a vector per joint
_PARTS = (
    ("global_orient", "body_pose"), ("root_orient", "pose_body"), ("root_pose", "body_pose"),
    ("poses_root", "poses_body"),
)  # fmt: skip
_ROOTS = ("trans_world", "trans", "transl", "smpl_trans", "pred_trans", "translation", "root_translation")
_CAMERA = ("pred_rotmat",)  # names of poses that are in a camera's axes
_MOST_JOINTS = 55
_SIXES = (
    "six numbers per joint, of which the file does not say whether they are rows or columns of the matrix: save axis "
    "angles (frames, 66) or matrices (frames, 22, 3, 3) as poses, with trans, in a .npz"
)
_NO_AXIS_ANGLES = (126, 132, 138, 144)  # six numbers for each of 21 to 24 joints
_ROTATION = 0.05  # how far a matrix times its transpose may be from the identity


def find_parameters(path: str | Path, content: Any) -> list[Parameters]:
    """The people whose SMPL parameters a dictionary holds, as AMASS, GVHMR, WHAM, 4D-Humans and others write them: if
    there are several, each is labelled.

    Raises:
        UserError: parameters whose shapes do not fit, or do not tell people from frames.
    """
    found = list(_find(path, content)) if isinstance(content, dict) else []
    if len(found) > 1 and all(len(person.turns) == 1 for person in found):
        raise UserError(
            f"{path}: {len(found):,} poses of one frame each: people, or frames of one person? save poses of shape "
            "(frames, 72)"
        )
    return found


def find_in_array(path: str | Path, array: np.ndarray) -> list[Parameters]:
    """The people in an array of Motion-X's (T, 322) numbers, or of rotation matrices (T, J, 3, 3); [] for others.

    Raises:
        UserError: as :func:`find_parameters`, or six numbers per joint.
    """
    if array.ndim > 1 and array.shape[-1] == MOTION_X:
        parts = {"poses": array[..., :66], "trans": array[..., 309:312], "betas": array[..., 312:]}
        return find_parameters(path, parts)
    if array.ndim > 3 and array.shape[-2:] == (3, 3) and JOINTS <= array.shape[-3] <= _MOST_JOINTS and _rotate(array):
        return find_parameters(path, {"poses": array})
    sixes = array.ndim > 2 and JOINTS <= array.shape[-2] <= _MOST_JOINTS and array.shape[-1] == 6
    sixes |= array.ndim > 2 and JOINTS <= array.shape[-3] <= _MOST_JOINTS and array.shape[-2] == 6
    if sixes or (array.ndim == 2 and array.shape[1] in _NO_AXIS_ANGLES):
        raise UserError(f"{path}: shape {array.shape}: {_SIXES}")
    return []


def rate_of(content: dict[Any, Any]) -> float | None:
    """Frames per second in a dictionary; None if it has none."""
    rate = _first(content, RATES)
    fps = float(rate.reshape(-1)[0]) if rate is not None and rate.size else 0.0
    return fps if fps > 0 and np.isfinite(fps) else None


def unread_rotations(content: dict[Any, Any]) -> str:
    """The message about rotations that are present but not read; "" if there are none."""
    for name in (*_WHOLE, *(part for pair in _PARTS for part in pair), "pred_pose"):
        value = _array(content.get(name))
        if value is None or value.ndim < 2:
            continue
        if value.shape[-1] in (6, *_NO_AXIS_ANGLES) or (value.ndim == 3 and value.shape[1] == 6):
            return f"; {name} of shape {value.shape} are {_SIXES}"
        if value.shape[-1] in (189, 198, 207, 216) or value.shape[-2:] == (3, 3):
            return f"; {name} of shape {value.shape} are matrices that are not rotations"
        if value.ndim > 2 and value.shape[-1] == 3 and _positions(value):
            return f"; {name} of shape {value.shape} are places, not rotations: save them as an array of joints"
    return ""


def _find(path: str | Path, content: dict[Any, Any], deep: bool = True) -> Iterator[Parameters]:
    for name in ("smpl_params_global", "smpl_params_incam", "smpl_params"):
        if isinstance(content.get(name), dict):
            yield from _find(path, content[name])
            return
    people = _frames_of_people(content)
    if people:
        for label, parameters in people.items():
            if not (alone := _apart(path, parameters)):
                raise UserError(f"{path}: rotations whose shapes do not fit together")
            yield _of(path, alone[0], label, in_camera=True)
        return
    apart = _apart(path, content)
    if apart:
        yield from (_of(path, one, f"#{number}" if len(apart) > 1 else "") for number, one in enumerate(apart))
        return
    if not deep:
        return
    rates = {name: content[name] for name in RATES if name in content}
    inner = {key: list(_find(path, rates | value, False)) for key, value in content.items() if isinstance(value, dict)}
    inner = {key: several for key, several in inner.items() if several}
    for key, several in inner.items():
        for one in several:
            label = (f"#{key}" if len(inner) > 1 else "") + one.label
            yield Parameters(one.turns, one.root, one.betas, one.fps, one.up, label, one.still)


class _Person(NamedTuple):
    """One person's rotations (T, 22, 3, 3), the name at which they stood, and what else belongs to them."""

    turns: np.ndarray
    name: str
    content: dict[Any, Any]


def _apart(path: str | Path, content: dict[Any, Any]) -> list[_Person]:
    """Each person: of a dictionary whose values are lists, or have an axis of people in front."""
    for names in (*((name,) for name in _WHOLE), *_PARTS):
        value = content.get(names[-1])
        if isinstance(value, list) and value and all(isinstance(one, np.ndarray) for one in value):
            turns = [_turns(names[-1], one, JOINTS + 1 - len(names)) for one in value]
            if all(one is not None and one.ndim > 3 for one in turns):  # as in 3DPW
                several = [_one_of(path, content, number, len(value)) for number in range(len(value))]
                return [one for person in several for one in _apart(path, person)]
        found = _pose_of(path, content, names)
        if found is None:
            continue
        if found.ndim == 4:
            return [_Person(found, names[0], content)]
        if len(found) > found.shape[1]:
            raise UserError(
                f"{path}: {names[-1]} of {len(found):,} by {found.shape[1]} poses: are these {len(found):,} people or "
                f"{len(found):,} frames? save poses of shape (frames, 72)"
            )
        if len(found) == 1:
            return [_Person(found[0], names[0], content)]
        several = [_one_of(path, content, number, len(found)) for number in range(len(found))]
        return [_Person(turns, names[0], own) for turns, own in zip(found, several, strict=True)]
    return []


def _one_of(path: str | Path, content: dict[Any, Any], number: int, people: int) -> dict[Any, Any]:
    """What belongs to one of several people."""
    own: dict[Any, Any] = {}
    for key, value in content.items():
        axes = value.ndim if isinstance(value, np.ndarray) else 3 if isinstance(value, list) else 0
        apart = axes > (2 if key in _ROOTS else 1) and len(value) == people
        if key in _ROOTS and value is not None and people > 1 and not apart:
            shape = f"of shape {value.shape}" if isinstance(value, np.ndarray) else "of another number"
            raise UserError(f"{path}: {people} people, but {key} {shape}, expected translations for each of them")
        own[key] = value[number] if apart else value
    return own


def _pose_of(path: str | Path, content: dict[Any, Any], names: tuple[str, ...]) -> np.ndarray | None:
    """Rotations (T, 22, 3, 3), or (P, T, 22, 3, 3) of several people, of what has these names."""
    arrays = [array for name in names if (array := _array(content.get(name))) is not None]
    if len(arrays) < len(names):
        return None
    *before, last = arrays
    turns = _turns(names[-1], last, JOINTS - len(before))
    if turns is None:
        return None
    if before:
        root, lead = before[0], turns.shape[:-3]
        if root.size == 3 * math.prod(lead):
            root = rotation_matrices(root.reshape(*lead, 1, 3))
        elif root.size == 9 * math.prod(lead) and _rotate(root.reshape(*lead, 1, 3, 3)):
            root = root.reshape(*lead, 1, 3, 3)
        else:
            raise UserError(f"{path}: {names[0]} of shape {root.shape} do not fit {names[1]} of {last.shape}")
        turns = np.concatenate([root, turns], axis=-3)
    return turns[None] if turns.ndim == 3 else turns


def _turns(name: str, array: np.ndarray | None, joints: int = JOINTS) -> np.ndarray | None:
    """Rotations (..., ``joints``, 3, 3) of the first joints of axis angles or matrices; None where it is neither, or
    has more axes than people and frames."""
    if array is None or array.dtype.kind not in "fiu" or not array.size:
        return None
    size = array.shape[-1] if array.ndim else 0
    if array.ndim > 2 and array.shape[-2:] == (3, 3) and joints <= array.shape[-3] <= _MOST_JOINTS:
        turns = array[..., :joints, :, :]
    elif size == 3 and array.ndim > 1 and joints <= array.shape[-2] <= _MOST_JOINTS and name not in _FLAT_ALONE:
        if _positions(array):
            return None
        turns = rotation_matrices(array[..., :joints, :])
    elif 3 * joints <= size <= 3 * (_MOST_JOINTS + 1) and size % 3 == 0 and size not in _NO_AXIS_ANGLES:
        turns = rotation_matrices(array[..., : 3 * joints].reshape(*array.shape[:-1], joints, 3))
    elif size in (9 * joints, 9 * (joints + 2)):
        turns = array.reshape(*array.shape[:-1], -1, 3, 3)[..., :joints, :, :]
    else:
        return None
    return turns if turns.ndim <= 5 and _rotate(turns) else None


def _positions(array: np.ndarray) -> bool:
    """Whether (..., J, 3) are positions of joints: limbs then have equal and constant lengths."""
    joints = array.reshape(-1, *array.shape[-2:])
    return (
        joints.shape[1] >= JOINTS
        and bool(np.isfinite(joints).all())
        and why_implausible(joints, HUMANML3D, 1.0) is None
    )


def _rotate(matrices: np.ndarray) -> bool:
    """Whether matrices (..., 3, 3) are rotations. Values that are not finite are reported later."""
    if not np.isfinite(matrices).all():
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        square = matrices.astype(np.float64) @ np.swapaxes(matrices, -1, -2)
        near = np.abs(square - np.eye(3)).max(initial=0.0) < _ROTATION
        return bool(near) and bool((np.linalg.det(matrices.astype(np.float64)) > 0).all())


def _of(path: str | Path, person: _Person, label: str, in_camera: bool = False) -> Parameters:
    """The parameters of one person, which may stand in the axes of a camera."""
    turns, name, content = person
    frames = len(turns)
    root = _first(content, _ROOTS)
    still = root is None
    root = np.zeros((frames, 3)) if root is None else root.reshape(-1, 3)
    scale = _array(content.get("smpl_scaling"))
    if scale is not None and scale.size == 1 and np.isfinite(scale).all() and scale.all():
        root = root / float(scale.reshape(-1)[0])
    if len(root) != frames:
        raise UserError(f"{path}: {counted(frames, 'pose')} but {counted(len(root), 'translation')}")
    betas = _array(content.get("betas"))
    if betas is not None:
        betas = betas.reshape(-1, betas.shape[-1]).mean(axis=0) if betas.size else None
    if not (np.isfinite(turns).all() and np.isfinite(root).all()):
        raise UserError(f"{path}: NaN or infinite values in its parameters")
    up = "-y" if in_camera or name in _CAMERA else None
    return Parameters(turns, root, betas, rate_of(content), up, label, still)


def _frames_of_people(content: dict[Any, Any]) -> dict[str, dict[str, Any]]:
    """4D-Humans' results, in a camera's axes: of a dictionary per frame, with a list of people, that of each person."""
    tracks: dict[Any, list[dict[str, Any]]] = {}
    for key in sorted(content, key=str):
        frame = content[key]
        if not (isinstance(frame, dict) and isinstance(frame.get("smpl"), list)):
            continue
        ids: Any = frame.get("tracked_ids", frame.get("tid", range(len(frame["smpl"]))))
        for person, parameters in zip(ids, frame["smpl"], strict=False):
            if isinstance(parameters, dict):
                tracks.setdefault(int(person), []).append(parameters)
    people = {}
    for person, frames in tracks.items():
        try:
            joined = {
                name: np.stack([np.asarray(f[name], float).reshape(-1, 3, 3) for f in frames])
                for name in ("global_orient", "body_pose")
            }
            joined["betas"] = np.stack([np.asarray(frame["betas"], float).reshape(-1) for frame in frames])
        except (KeyError, ValueError, TypeError):
            continue
        people[f"#{person}" if len(tracks) > 1 else ""] = joined
    return people


def _first(content: dict[Any, Any], names: tuple[str, ...]) -> np.ndarray | None:
    """The first of these that exists."""
    return next((found for name in names if (found := _array(content.get(name))) is not None), None)


def _array(value: Any) -> np.ndarray | None:
    if value is None or isinstance(value, str | bytes | dict):
        return None
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array.astype(np.float64) if array.dtype.kind in "fiu" and array.size else None
