"""Parameters of the SMPL family (AMASS, video estimators) to joints, with a body model or a fixed skeleton."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.formats.pickled import foreign_bytes, load_pickle, without_advice
from m2t_fast.motion.formats.unpickler import Inert
from m2t_fast.motion.joint_names import JOINT_NAMES
from m2t_fast.motion.kinematics import forward_kinematics
from m2t_fast.reading import check_archive, open_regular
from m2t_fast.wording import counted

JOINTS = 22
PARENTS: tuple[int, ...] = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Of the first 22 joints, which SMPL, SMPL-H and SMPL-X share; HumanML3D's order."""

NAMES: tuple[str, ...] = JOINT_NAMES["humanml3d"]

# A body of our own in T-pose: offsets from the parent in metres, left side at +X. Its bones are as long as those of
# HumanML3D's body to a centimetre.
_LEFT = {
    1: (0.060, -0.085, -0.005), 4: (0.040, -0.390, 0.000), 7: (-0.015, -0.428, -0.030), 10: (0.035, -0.060, 0.125),
    13: (0.075, 0.115, -0.030), 16: (0.120, 0.045, -0.010), 18: (0.260, -0.010, -0.020), 20: (0.267, 0.010, -0.005),
}  # fmt: skip
_MIDDLE = {3: (0, 0.125, -0.03), 6: (0, 0.14, 0.01), 9: (0, 0.055, 0.005), 12: (0, 0.215, -0.04), 15: (0, 0.09, 0.05)}
_MOST_BETAS = 16

_WHOLE = ("poses", "pose_world", "pose", "smpl_poses", "smpl_thetas", "thetas", "fullpose", "full_pose")
_NO_AXIS_ANGLES = (132, 144, 198, 216)  # of 22 or 24 joints: six numbers or a matrix each, whose order nobody agrees on
_PARTS = (("global_orient", "body_pose"), ("root_orient", "pose_body"), ("root_pose", "body_pose"))

STILL = "no translation in it: the body turns and moves its limbs in place"
FIXED = "joints of a fixed skeleton of 1.7 m (--body-model FILE gives the body's own: bones differ by centimetres)"


@dataclass(frozen=True)
class Parameters:
    """One person's parameters.

    ``turns`` (T, 22, 3, 3) rotations of the joints in their parents' frames; ``root`` (T, 3) translation in metres;
    ``betas`` (K,) or None; ``fps`` or None; ``up`` the axis of camera coordinates ("-y"), None where the body tells;
    ``label`` of the person; ``still``: the file has no translation, so that ``root`` is zeros.
    """

    turns: np.ndarray
    root: np.ndarray
    betas: np.ndarray | None
    fps: float | None
    up: str | None = None
    label: str = ""
    still: bool = False


def rest_joints(model: dict[str, Any] | None, betas: np.ndarray | None) -> np.ndarray:
    """(22, 3) joints of the rest pose in metres: of the body model with this shape, else of the fixed skeleton."""
    if model is not None:
        template = model["v_template"]
        if betas is not None and model["shapedirs"] is not None:
            count = min(len(betas), model["shapedirs"].shape[2], _MOST_BETAS)
            template = template + model["shapedirs"][:, :, :count] @ betas[:count]
        joints: np.ndarray = model["J_regressor"][:JOINTS] @ template
        return joints
    rest = np.zeros((JOINTS, 3))
    for joint, parent in enumerate(PARENTS[1:], start=1):
        if joint in _MIDDLE:
            offset = np.array(_MIDDLE[joint])
        else:
            offset = np.array(_LEFT.get(joint) or _LEFT[joint - 1])
            offset = offset * [1 if joint in _LEFT else -1, 1, 1]
        rest[joint] = rest[parent] + offset
    return rest


def joints_of(parameters: Parameters, model: dict[str, Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """Joints (T, 22, 3) of parameters, and the rest pose (22, 3), in metres and the file's axes."""
    rest = rest_joints(model, parameters.betas)
    places = [rest[joint] - (rest[parent] if parent >= 0 else 0) for joint, parent in enumerate(PARENTS)]
    places[0] = places[0] + parameters.root
    turns = [parameters.turns[:, joint] for joint in range(JOINTS)]
    # A root's own rotation moves what hangs on it, not itself.
    parents = [-1, *(parent + 1 for parent in PARENTS)]
    still = np.tile(np.eye(3), (len(parameters.root), 1, 1))
    joints = forward_kinematics(parents, [np.zeros((len(parameters.root), 3)), *places], [still, *turns])
    return joints[:, 1:], rest


def read_body_model(path: str | Path) -> dict[str, Any]:
    """``J_regressor`` (24 or more, V), ``v_template`` (V, 3) and ``shapedirs`` (V, 3, K) or None of a body model of the
    SMPL family, .npz or .pkl; nothing that a .pkl holds is run.

    Raises:
        UserError: unreadable, or no such model.
    """
    if Path(path).suffix.lower() == ".npz":
        content: Any = load_npz(path)
    else:
        content = load_pickle(path)
    if not isinstance(content, dict) or not {"J_regressor", "v_template"} <= content.keys():
        raise UserError(f"{path}: no body model (J_regressor and v_template are what one has)")
    try:
        regressor, template = (_dense(content[name]) for name in ("J_regressor", "v_template"))
        shapes = _dense(content["shapedirs"]) if "shapedirs" in content else None
        good = regressor.ndim == 2 and regressor.shape[0] >= JOINTS and template.shape == (regressor.shape[1], 3)
        good &= shapes is None or shapes.shape[:2] == template.shape
    except (ValueError, TypeError, KeyError, IndexError):
        good = False
    if not good:
        raise UserError(f"{path}: a body model whose J_regressor, v_template and shapedirs do not fit together")
    return {"J_regressor": regressor, "v_template": template, "shapedirs": shapes}


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of numbers of an .npz file.

    Raises:
        UserError: unreadable, truncated, or no .npz.
    """
    found: dict[str, np.ndarray] = {}
    objects: list[str] = []
    with foreign_bytes(path, "an .npz file", without_advice), open_regular(path) as file:
        check_archive(file)
        with np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                try:
                    found[name] = archive[name]
                except ValueError as error:
                    if "pickle" not in str(error):
                        raise
                    objects.append(name)  # for example a dictionary of settings
    if objects and not found:
        raise UserError(f"{path}: pickled objects alone ({', '.join(objects[:6])}), which are not opened; save numbers")
    return found


def _dense(value: Any) -> np.ndarray:
    """An array of what may be one, a chumpy array or a scipy matrix in compressed columns."""
    if isinstance(value, Inert):
        state = value.state if isinstance(value.state, dict) else {}
        if "x" in state:
            return _dense(state["x"])
        shape: tuple[int, ...] = tuple(state.get("_shape") or state.get("shape") or ())
        data, indices, starts = (np.asarray(state[name]) for name in ("data", "indices", "indptr"))
        dense = np.zeros(shape)
        columns = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        if len(starts) == shape[1] + 1:
            dense[indices, columns] = data
        else:  # compressed rows
            dense[columns, indices] = data
        return dense
    return np.asarray(value, dtype=np.float64)


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of axis-angle vectors (..., 3), radians."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors / np.maximum(angle[..., 0], 1e-12), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    turned: np.ndarray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turned


def find_parameters(path: str | Path, content: Any) -> Iterator[Parameters]:
    """The people whose SMPL parameters a dictionary holds, as AMASS, GVHMR, WHAM, 4D-Humans and others write them.

    Raises:
        UserError: parameters whose shapes do not fit.
    """
    if not isinstance(content, dict):
        return
    for name in ("smpl_params_global", "smpl_params_incam", "smpl_params"):
        if isinstance(content.get(name), dict):
            yield from find_parameters(path, content[name])
            return
    people = _frames_of_people(content)
    if people:
        yield from (_of(path, person, label) for label, person in people.items())
        return
    if _pose_of(content) is not None:
        yield _of(path, content, "")
        return
    inner = {key: value for key, value in content.items() if isinstance(value, dict) and _pose_of(value) is not None}
    for key, value in inner.items():
        yield _of(path, value, f"#{key}" if len(inner) > 1 else "")


def _pose_of(content: dict[Any, Any]) -> np.ndarray | None:
    """Rotations (T, 22, 3, 3), whatever the file calls them."""
    for name in _WHOLE:
        value = _array(content.get(name))
        if value is None or value.ndim < 2 or value.shape[-1] in _NO_AXIS_ANGLES:
            continue
        if value.shape[-1] >= 66 and value.shape[-1] % 3 == 0:
            flat = value.reshape(-1, value.shape[-1])
            return rotation_matrices(flat[:, : 3 * JOINTS].reshape(len(flat), JOINTS, 3))
    for root_name, body_name in _PARTS:
        root, body = _array(content.get(root_name)), _array(content.get(body_name))
        if root is None or body is None:
            continue
        matrices = []
        for value in (root, body):
            if value.shape[-2:] == (3, 3):
                matrices.append(value.reshape(len(value), -1, 3, 3))
            elif value.shape[-1] % 3 == 0 and value.ndim >= 1:
                frames = value.shape[0] if value.ndim > 1 else 1
                matrices.append(rotation_matrices(value.reshape(frames, -1, 3)))
        if len(matrices) == 2 and len(matrices[0]) == len(matrices[1]) and matrices[1].shape[1] >= JOINTS - 1:
            return np.concatenate([matrices[0][:, :1], matrices[1][:, : JOINTS - 1]], axis=1)
    return None


def _of(path: str | Path, content: dict[Any, Any], label: str) -> Parameters:
    turns = _pose_of(content)
    assert turns is not None
    frames = len(turns)
    root = _first(content, ("trans_world", "trans", "transl", "smpl_trans"))
    still = root is None
    root = np.zeros((frames, 3)) if root is None else root.reshape(-1, 3)
    scale = _array(content.get("smpl_scaling"))
    if scale is not None and scale.size == 1:
        root = root / float(scale.reshape(-1)[0])
    if len(root) != frames:
        raise UserError(f"{path}: {counted(frames, 'pose')} but {counted(len(root), 'translation')}")
    betas = _array(content.get("betas"))
    if betas is not None:
        betas = betas.reshape(-1, betas.shape[-1]).mean(axis=0) if betas.size else None
    rate = _first(content, ("mocap_framerate", "mocap_frame_rate", "fps", "framerate"))
    if not (np.isfinite(turns).all() and np.isfinite(root).all()):
        raise UserError(f"{path}: NaN or infinite values in its parameters")
    fps = float(rate.reshape(-1)[0]) if rate is not None and rate.size else None
    return Parameters(turns, root, betas, fps if fps and fps > 0 else None, content.get("__up"), label, still)


def _frames_of_people(content: dict[Any, Any]) -> dict[str, dict[str, Any]]:
    """4D-Humans' results, a dictionary per frame with a list of people, as parameters per person."""
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
        people[f"#{person}" if len(tracks) > 1 else ""] = {**joined, "__up": "-y"}  # in the camera's axes
    return people


def _first(content: dict[Any, Any], names: tuple[str, ...]) -> np.ndarray | None:
    """The first of these that is there."""
    return next((found for name in names if (found := _array(content.get(name))) is not None), None)


def _array(value: Any) -> np.ndarray | None:
    if value is None or isinstance(value, str | bytes | dict):
        return None
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array.astype(np.float64) if array.dtype.kind in "fiu" and array.size else None
