"""Parameters of the SMPL family to joints, with a body model or a fixed skeleton."""

from __future__ import annotations

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

STILL = "no translation in the file: the body turns and moves its limbs in place"
FIXED = "joints of a fixed skeleton of 1.7 m (--body-model FILE gives the body's own: bones differ by centimetres)"


@dataclass(frozen=True)
class Parameters:
    """One person's parameters.

    ``turns`` (T, 22, 3, 3) rotations of the joints in their parents' frames; ``root`` (T, 3) translation in metres;
    ``betas`` (K,) or None; ``fps`` or None; ``up`` the axis of camera coordinates ("-y"), None where the body shows it;
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
        UserError: unreadable, or not such a model.
    """
    if Path(path).suffix.lower() == ".npz":
        content: Any = load_npz(path)
    else:
        content = load_pickle(path)
    if not isinstance(content, dict) or not {"J_regressor", "v_template"} <= content.keys():
        raise UserError(f"{path}: not a body model (it lacks J_regressor or v_template)")
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
        UserError: unreadable, truncated, or not an .npz file.
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
    """A dense array from an array, a chumpy array or a scipy matrix in compressed columns."""
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
    with np.errstate(over="ignore", invalid="ignore"):  # foreign numbers; what is not finite is refused later
        return _turned(vectors)


def _turned(vectors: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors / np.maximum(angle[..., 0], 1e-12), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    turned: np.ndarray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turned
