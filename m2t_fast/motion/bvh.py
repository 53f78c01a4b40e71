"""Reads .bvh files: the hierarchy, the frames, and where every joint is in each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.capture import Capture
from m2t_fast.reading import read_bytes

_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)
_AXES = "xyz"
_FARTHEST = 1e30  # within float32, in whatever unit


Bvh = Capture
"""What :func:`read_bvh` gives."""


@dataclass
class _Node:
    name: str
    parent: int
    offset: np.ndarray | None = None
    channels: list[tuple[str, int]] = field(default_factory=list)  # ("position" or "rotation", axis 0 to 2)


def read_bvh(path: str | Path) -> Capture:
    """Reads a .bvh file and computes its forward kinematics.

    A joint's rotation is the matrix product of its rotation channels in the order they are listed (degrees), whatever
    that order is. The root's position channels are its position. Exporters disagree about those of other joints: they
    take the place of the OFFSETs, except in a file in which most are less than half as long and so must be added.

    Raises:
        UserError: the file is unreadable or truncated, no .bvh, or a number of it is missing, no number or not finite;
            the message names the line.
    """
    lines = _read_lines(Path(path))
    start = next((i for i, line in enumerate(lines) if line.strip().upper() == "MOTION"), None)
    if start is None:
        if not lines or not any(line.strip().upper().startswith("HIERARCHY") for line in lines[:20]):
            raise UserError(f"{path}: not a .bvh file (it does not begin with HIERARCHY)")
        raise UserError(f"{path}: truncated: no MOTION after line {len(lines)}")
    nodes = _parse_hierarchy(path, lines[:start])
    frame_time, values = _parse_motion(path, lines, start + 1, sum(len(node.channels) for node in nodes))
    positions, added = _forward_kinematics(nodes, values)
    if not (np.abs(positions) < _FARTHEST).all():
        raise UserError(f"{path}: joint positions of {np.abs(positions).max():.3g} are too large to be a motion")
    rest = np.zeros((len(nodes), 3))
    for index, node in enumerate(nodes):
        rest[index] = node.offset
        if node.parent >= 0:
            rest[index] += rest[node.parent]
    names, parents = tuple(node.name for node in nodes), tuple(node.parent for node in nodes)
    return Capture(names, parents, positions, rest, frame_time, added)


def _read_lines(path: Path) -> list[str]:
    content = read_bytes(path)
    if b"\0" in content[:4096]:
        raise UserError(f"{path}: not a .bvh file (it is not text)")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return content.decode("latin-1").splitlines()  # only names can be meant, and every byte is some letter


def _parse_hierarchy(path: str | Path, lines: list[str]) -> list[_Node]:
    nodes: list[_Node] = []
    opened: list[int] = []
    declared: int | None = None  # a node whose brace has not come yet
    for number, whole in enumerate(lines, start=1):

        def refuse(reason: str, number: int = number) -> NoReturn:
            raise UserError(f"{path}: line {number}: {reason}")

        for line in (piece.strip() for piece in re.split(r"([{}])", whole)):
            if not line:
                continue
            word, *rest = line.split()
            word = word.upper()
            if word in ("ROOT", "JOINT", "END"):
                name = line[len(word) :].strip()
                if not name:
                    refuse(f"{word} without a name")
                if word == "ROOT" and nodes:
                    refuse(f"a second skeleton, {name!r}; expected one in a file")
                if word != "ROOT" and not opened:
                    refuse(f"{line!r} outside of a ROOT")
                parent = opened[-1] if opened else -1
                declared = len(nodes)
                nodes.append(_Node(f"{nodes[parent].name}.end" if word == "END" else name, parent))
            elif word == "{":
                if declared is None:
                    refuse("a brace that opens no ROOT, JOINT or End Site")
                else:
                    opened.append(declared)
                    declared = None
            elif word == "}":
                if not opened:
                    refuse("a brace too many")
                opened.pop()
            elif word == "OFFSET" and opened:
                nodes[opened[-1]].offset = _three_numbers(rest) if len(rest) == 3 else None
                if nodes[opened[-1]].offset is None:
                    refuse(f"{line!r}, expected OFFSET and three numbers")
            elif word == "CHANNELS" and opened:
                found = [_CHANNEL.fullmatch(name) for name in rest[1:]]
                if not rest or rest[0] != str(len(found)) or None in found:
                    refuse(f"{line!r}, expected CHANNELS, how many, and that many of Xposition to Zrotation")
                channels = [(match[2].lower(), _AXES.index(match[1].lower())) for match in found if match]
                if len(set(channels)) < len(channels):
                    refuse(f"{line!r}: a channel is there twice")
                nodes[opened[-1]].channels = channels
            elif word != "HIERARCHY":
                refuse(f"{line[:40]!r}, expected ROOT, JOINT, End Site, OFFSET, CHANNELS or a brace")
    if not nodes:
        raise UserError(f"{path}: no ROOT in the hierarchy")
    if opened or declared is not None:
        raise UserError(f"{path}: the hierarchy ends inside {nodes[opened[-1] if opened else declared or 0].name!r}")
    for node in nodes:
        if node.offset is None:
            raise UserError(f"{path}: joint {node.name!r} has no OFFSET")
    return nodes


def _three_numbers(words: list[str]) -> np.ndarray | None:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _parse_motion(path: str | Path, lines: list[str], start: int, channels: int) -> tuple[float, np.ndarray]:
    """The frame time in seconds and the values (frames, channels) from line index ``start`` on."""
    rows = [(number, line) for number, line in enumerate(lines[start:], start + 1) if line.strip()]
    counted = re.fullmatch(r"\s*frames\s*:?\s*(\d+)\s*", rows[0][1], re.IGNORECASE) if rows else None
    timed = re.fullmatch(r"\s*frame\s+time\s*:?\s*(\S+)\s*", rows[1][1], re.IGNORECASE) if len(rows) > 1 else None
    if counted is None or timed is None:
        raise UserError(f"{path}: expected 'Frames: N' and 'Frame Time: SECONDS' after MOTION (line {start})")
    frames, rows = int(counted[1]), rows[2:]
    try:
        frame_time = float(timed[1])
    except ValueError:
        raise UserError(f"{path}: frame time {timed[1]!r}, expected seconds") from None
    if frames == 0:
        raise UserError(f"{path}: no frames (Frames: 0), expected at least one")
    if len(rows) != frames:
        state = "truncated: " if len(rows) < frames else ""
        raise UserError(f"{path}: {state}{len(rows)} lines of values, but 'Frames: {frames}'")
    values = np.empty((frames, channels))
    for frame, (number, line) in enumerate(rows):
        words = line.split()
        if len(words) != channels:
            raise UserError(f"{path}: line {number}: {len(words)} values, but the hierarchy has {channels} channels")
        try:
            values[frame] = words
        except ValueError:
            raise UserError(f"{path}: line {number}: expected {channels} numbers") from None
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise UserError(f"{path}: line {rows[int((~finite).argmax())][0]}: NaN or infinite values")
    return frame_time, values


def _forward_kinematics(nodes: list[_Node], values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Positions (T, N, 3), and whether position channels are added to OFFSETs."""
    frames = len(values)
    first = np.cumsum([0, *(len(node.channels) for node in nodes)])
    positions = np.empty((frames, len(nodes), 3))
    rotations: list[np.ndarray] = []
    added = _positions_are_added(nodes, values)
    for index, node in enumerate(nodes):
        rotation = np.broadcast_to(np.eye(3), (frames, 3, 3))
        place = np.tile(np.asarray(node.offset), (frames, 1))
        for column, (kind, axis) in enumerate(node.channels, start=first[index]):
            if kind == "rotation":
                rotation = rotation @ axis_rotation(axis, np.deg2rad(values[:, column]))
            elif added and node.parent >= 0:
                place[:, axis] += values[:, column]
            else:
                place[:, axis] = values[:, column]
        if node.parent >= 0:
            place = positions[:, node.parent] + (rotations[node.parent] @ place[..., None])[..., 0]
            rotation = rotations[node.parent] @ rotation
        positions[:, index] = place
        rotations.append(rotation)
    return positions, added


def _positions_are_added(nodes: list[_Node], values: np.ndarray) -> bool:
    shares = []
    column = 0
    for node in nodes:
        moved = [(column + step, axis) for step, (kind, axis) in enumerate(node.channels) if kind == "position"]
        column += len(node.channels)
        length = float(np.linalg.norm(np.asarray(node.offset)[[axis for _, axis in moved]]))
        if node.parent >= 0 and moved and length > 0:
            shares.append(np.median(np.linalg.norm(values[:, [place for place, _ in moved]], axis=1)) / length)
    return bool(shares) and float(np.median(shares)) < 0.5


def axis_rotation(axis: int, angle: np.ndarray) -> np.ndarray:
    """Matrices (..., 3, 3) that turn column vectors about an axis (0 x, 1 y, 2 z) by ``angle`` (...) radians."""
    one, two = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*np.shape(angle), 3, 3))
    matrix[..., axis, axis] = 1.0
    matrix[..., one, one] = matrix[..., two, two] = np.cos(angle)
    matrix[..., two, one] = np.sin(angle)
    matrix[..., one, two] = -np.sin(angle)
    return matrix
