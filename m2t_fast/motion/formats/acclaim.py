"""Acclaim's skeletons and motions (.asf and .amc), as the CMU database distributes them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.capture import Capture, check_size
from m2t_fast.motion.kinematics import axis_rotation, forward_kinematics
from m2t_fast.motion.text import decode
from m2t_fast.reading import read_bytes
from m2t_fast.wording import counted

_MOST_BONES, _MOST_FRAMES = 1000, 1_000_000
_DOFS = {"rx": 0, "ry": 1, "rz": 2}
_CMU_RATE = 120.0  # frames per second of the database; .amc files do not tell
_NEARLY_NOTHING = 1e-9


@dataclass
class _Bone:
    """A bone: its ``direction`` (3,) and ``length`` in the world's axes at rest, its own ``axes`` (3, 3), and the
    degrees of freedom that the motion file gives."""

    name: str
    direction: np.ndarray = field(default_factory=lambda: np.zeros(3))
    length: float = 0.0
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    dofs: tuple[str, ...] = ()
    parent: str | None = None


@dataclass
class _Skeleton:
    bones: dict[str, _Bone]
    order: tuple[str, ...]
    position: np.ndarray
    degrees: bool


def read_amc(path: str | Path, asf: str | Path | None = None) -> Capture:
    """Reads a motion with its skeleton.

    A bone's joint, which has its name, is where the bone begins; the ends of bones that carry no other are their
    ``NAME.end``. Positions are in the file's unit, which the CMU database's ``length 0.45`` makes inches times 0.45.

    Args:
        path: the .amc file.
        asf: the .asf file; None: the one beside it: of the same name, of its name up to a ``_``, or the only one.
    Raises:
        UserError: a file is unreadable, truncated or malformed (the line is named), or there is no skeleton.
    """
    skeleton_file = Path(asf) if asf is not None else _beside(Path(path))
    skeleton = _read_asf(skeleton_file)
    frames, degrees = _read_frames(path, skeleton)
    bones = list(skeleton.bones.values())
    check_size(path, max((len(values) for values in frames.values()), default=1), len(bones), Path(path).stat().st_size)
    index = {bone.name: number for number, bone in enumerate(bones)}
    scale = 1.0 if degrees is False else np.pi / 180.0
    names, parents, places, turns = [], [], [], []
    for bone in bones:
        names.append(bone.name)
        parents.append(-1 if bone.parent is None else index[bone.parent])
        values = frames.get(bone.name)
        count = next(iter(frames.values())).shape[0] if frames else 1
        turn = np.tile(np.eye(3), (count, 1, 1))
        place = np.zeros(3) if bone.parent is None else _offset(skeleton.bones[bone.parent])
        if bone.parent is None:
            place = np.tile(skeleton.position, (count, 1))
        if values is not None:
            for column, dof in enumerate(bone.dofs):
                if dof in _DOFS:  # the last of the list acts last: x, then y, then z
                    turn = axis_rotation(_DOFS[dof], scale * values[:, column]) @ turn
                elif bone.parent is None and dof in ("tx", "ty", "tz"):
                    place[:, "xyz".index(dof[1])] += values[:, column]
        places.append(place)
        turns.append(bone.axes @ turn @ bone.axes.T)
    bearing = {bone.parent for bone in bones}
    for number, bone in enumerate(bones):
        if bone.name not in bearing and bone.length > 0:
            names.append(f"{bone.name}.end")
            parents.append(number)
            places.append(_offset(bone))
            turns.append([])
    positions = forward_kinematics(parents, places, turns)
    if not (np.abs(positions) < 1e30).all():
        raise UserError(f"{path}: joint positions are too large to be a motion")
    rest = forward_kinematics(parents, [np.zeros(3) if p < 0 else q for p, q in zip(parents, places, strict=True)],
                              [[] for _ in parents])[0]  # fmt: skip
    notes = (f"skeleton {skeleton_file.name}", "120 frames per second assumed, as CMU's are (--fps)")
    return Capture(tuple(names), tuple(parents), positions, rest, 1.0 / _CMU_RATE, notes=notes)


def _offset(bone: _Bone) -> np.ndarray:
    return bone.direction * bone.length


def _beside(path: Path) -> Path:
    """The skeleton of a motion: X.asf of X.amc, 01.asf of 01_02.amc, or the only one in the folder."""
    if not path.is_file():
        raise UserError(f"{path}: cannot read: {'it is a folder' if path.is_dir() else 'No such file or directory'}")
    there = {file.stem.lower(): file for file in sorted(path.parent.iterdir()) if file.suffix.lower() == ".asf"}
    stem = path.stem.lower()
    while stem:
        if stem in there:
            return there[stem]
        stem = stem.rpartition("_")[0]
    if len(there) == 1:
        return next(iter(there.values()))
    usual = f"{path.stem.rpartition('_')[0] or path.stem}.asf"
    raise UserError(f"{path}: a motion without its skeleton: put its .asf file ({usual}) beside it, or give --asf FILE")


def _lines(path: str | Path, kind: str) -> list[tuple[int, str]]:
    text = decode(path, read_bytes(path), kind)
    return [
        (number, line.split("#", 1)[0].strip())
        for number, line in enumerate(text.rstrip("\x1a").splitlines(), start=1)
        if line.split("#", 1)[0].strip()
    ]


def _read_asf(path: Path) -> _Skeleton:
    lines = _lines(path, ".asf")
    sections: dict[str, list[tuple[int, str]]] = {}
    name = ""
    for number, line in lines:
        if line.startswith(":"):
            word, _, rest = line[1:].partition(" ")
            name = word.lower()
            sections.setdefault(name, [])
            if rest.strip():
                sections[name].append((number, rest.strip()))
        elif name:
            sections[name].append((number, line))
    for needed in ("bonedata", "hierarchy"):
        if not sections.get(needed):
            raise UserError(f"{path}: not an .asf file, or truncated: no :{needed}")
    degrees = not any(
        "rad" in line.lower() for _, line in sections.get("units", []) if line.lower().startswith("angle")
    )
    root, order, position = _root(path, sections.get("root", []), degrees)
    bones = {"root": root}
    for bone in _bones(path, sections["bonedata"], degrees):
        if bone.name in bones:
            raise UserError(f"{path}: bone {bone.name!r} appears twice")
        bones[bone.name] = bone
        if len(bones) > _MOST_BONES:
            raise UserError(f"{path}: more than {_MOST_BONES} bones, expected those of one body")
    _hierarchy(path, sections["hierarchy"], bones)
    placed: dict[str, _Bone] = {"root": root}
    while True:  # parents first; what hangs on nothing, or on itself, is refused
        more = [b for b in bones.values() if b.name not in placed and b.parent in placed]
        if not more:
            break
        placed |= {bone.name: bone for bone in more}
    lost = [bone for bone in bones if bone not in placed]
    if lost:
        raise UserError(f"{path}: bones that are not connected to the root: {', '.join(lost[:5])}")
    return _Skeleton(placed, order, position, degrees)


def _root(path: Path, lines: list[tuple[int, str]], degrees: bool) -> tuple[_Bone, tuple[str, ...], np.ndarray]:
    root = _Bone("root", dofs=("tx", "ty", "tz", "rx", "ry", "rz"))
    position, axis, orientation = np.zeros(3), "XYZ", np.zeros(3)
    for number, line in lines:
        word, *rest = line.split()
        word = word.lower()
        if word == "order":
            root.dofs = tuple(one.lower() for one in rest)
            if not set(root.dofs) <= {"tx", "ty", "tz", "rx", "ry", "rz", "l"}:
                raise UserError(f"{path}: line {number}: {line!r}, expected an order of TX TY TZ RX RY RZ")
        elif word == "axis" and rest:
            axis = rest[0]
        elif word == "position":
            position = _numbers(path, number, rest, 3)
        elif word == "orientation":
            orientation = _numbers(path, number, rest, 3)
    root.axes = _axes(path, orientation, axis, degrees)
    return root, root.dofs, position


def _bones(path: Path, lines: list[tuple[int, str]], degrees: bool) -> list[_Bone]:
    bones: list[_Bone] = []
    bone: _Bone | None = None
    for number, line in lines:
        word, *rest = line.split()
        word = word.lower()
        if word == "begin":
            bone = _Bone("")
        elif bone is None:
            raise UserError(f"{path}: line {number}: {line[:40]!r} outside of begin and end")
        elif word == "end":
            if not bone.name:
                raise UserError(f"{path}: line {number}: a bone without a name")
            bones.append(bone)
            bone = None
        elif word == "name" and rest:
            bone.name = rest[0]
        elif word == "direction":
            bone.direction = _numbers(path, number, rest, 3)
            size = float(np.linalg.norm(bone.direction))
            if size > _NEARLY_NOTHING:
                bone.direction = bone.direction / size
        elif word == "length":
            bone.length = float(_numbers(path, number, rest, 1)[0])
        elif word == "axis":
            bone.axes = _axes(path, _numbers(path, number, rest[:3], 3), rest[3] if len(rest) > 3 else "XYZ", degrees)
        elif word == "dof":
            bone.dofs = tuple(one.lower() for one in rest)
            if not set(bone.dofs) <= {"tx", "ty", "tz", "rx", "ry", "rz", "l"}:
                raise UserError(f"{path}: line {number}: {line!r}, expected some of rx ry rz tx ty tz l")
    if bone is not None:
        raise UserError(f"{path}: truncated: the last bone has no end")
    return bones


def _hierarchy(path: Path, lines: list[tuple[int, str]], bones: dict[str, _Bone]) -> None:
    for number, line in lines:
        words = line.split()
        if words[0].lower() in ("begin", "end"):
            continue
        for name in words:
            if name not in bones:
                raise UserError(f"{path}: line {number}: bone {name!r} is not in :bonedata")
        for child in words[1:]:
            if child == "root" or bones[child].parent is not None:
                raise UserError(f"{path}: line {number}: bone {child!r} has two parents")
            bones[child].parent = words[0]


def _axes(path: Path, angles: np.ndarray, order: str, degrees: bool) -> np.ndarray:
    """The rotation by ``angles`` about fixed axes, in the order of the letters."""
    if sorted(order.upper()) != ["X", "Y", "Z"]:
        raise UserError(f"{path}: axis order {order!r}, expected XYZ or another order of these")
    turned = np.eye(3)
    for letter, angle in zip(order.upper(), np.deg2rad(angles) if degrees else angles, strict=True):
        turned = axis_rotation("XYZ".index(letter), np.asarray(angle)) @ turned
    return turned


def _read_frames(path: str | Path, skeleton: _Skeleton) -> tuple[dict[str, np.ndarray], bool]:
    """Values (T, D) of every bone that has any, and whether angles are degrees."""
    lines = _lines(path, ".amc")
    degrees = skeleton.degrees
    while lines and lines[0][1].startswith(":"):
        degrees = degrees if "RADIANS" not in lines[0][1].upper() else False
        lines = lines[1:]
    starts = [place for place, (_, line) in enumerate(lines) if re.fullmatch(r"\d+", line)]
    if not starts or starts[0] != 0:
        raise UserError(f"{path}: not an .amc file, or truncated: no frame number")
    if len(starts) > _MOST_FRAMES:
        raise UserError(f"{path}: {len(starts)} frames are too many")
    values: dict[str, list[list[float]]] = {}
    for number_of_frame, (begin, end) in enumerate(zip(starts, [*starts[1:], len(lines)], strict=True)):
        for number, line in lines[begin + 1 : end]:
            name, *words = line.split()
            bone = skeleton.bones.get(name)
            if bone is None:
                raise UserError(f"{path}: line {number}: bone {name!r} is not in the skeleton; is it another's .asf?")
            if len(words) != len(bone.dofs):
                wanted = f"{len(bone.dofs)} ({' '.join(bone.dofs) or 'none'})"
                said = f"{counted(len(words), 'value')} of {name!r}, expected {wanted}"
                raise UserError(f"{path}: line {number}: {said}")
            rows = values.setdefault(name, [])
            if len(rows) != number_of_frame:
                said = "given twice" if len(rows) > number_of_frame else "missing in a frame before"
                raise UserError(f"{path}: line {number}: bone {name!r} is {said}")
            try:
                rows.append([float(word) for word in words])
            except ValueError:
                raise UserError(f"{path}: line {number}: expected {counted(len(words), 'number')}") from None
    if not values or any(len(rows) != len(starts) for rows in values.values()):
        raise UserError(f"{path}: truncated: a frame without all of its bones")
    arrays = {name: np.array(rows, dtype=np.float64) for name, rows in values.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise UserError(f"{path}: NaN or infinite values")
    return arrays, degrees


def _numbers(path: str | Path, number: int, words: list[str], count: int) -> np.ndarray:
    try:
        found = np.array([float(word) for word in words[:count]])
    except ValueError:
        found = np.empty(0)
    if len(found) != count or not np.isfinite(found).all() or any(math.fabs(value) > 1e12 for value in found):
        raise UserError(f"{path}: line {number}: expected {count} number{'s' if count > 1 else ''}")
    return found
