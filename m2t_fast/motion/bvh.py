"""Reads .bvh files: the hierarchy, the frames, and where every joint is in each of them."""

from __future__ import annotations

import itertools
import re
import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.bvh_mending import Node, is_comment, mend_trunk, mended_rows, one_body, separated
from m2t_fast.motion.capture import Capture, check_size
from m2t_fast.motion.kinematics import axis_rotation, forward_kinematics
from m2t_fast.motion.text import decode
from m2t_fast.reading import read_bytes
from m2t_fast.wording import counted

__all__ = ["Bvh", "axis_rotation", "read_bvh"]

_MOTION = re.compile(r"\s*MOTION(?=\s|$)", re.IGNORECASE)
_FRAMES = re.compile(r"\s*frames\s*:?\s*(\d+)(?:\.0*)?(?=\s|$)", re.IGNORECASE)
_FRAME_TIME = re.compile(r"\s*frame\s*_?time\s*:?\s*(\S+)\s*", re.IGNORECASE)
_PIECES = re.compile(r"([{}])|(?<=\s)(?=(?:ROOT|JOINT|End Site|OFFSET|CHANNELS)\s)")  # what some write on one line
_MOST_NODES = 3000
_ROWS = 512  # lines of values that are read at once
_CHANNEL = re.compile(r"([xyz])_?(position|rotation|scale)", re.IGNORECASE)
_AXES = "xyz"
_FARTHEST = 1e30  # within float32, in whatever unit


Bvh = Capture
"""What :func:`read_bvh` gives."""


def read_bvh(path: str | Path, mend: bool = False) -> Capture:
    """Reads a .bvh file and computes its forward kinematics.

    A joint's rotation is the matrix product of its rotation channels in the order they are listed (degrees), whatever
    that order is. The root's position channels are its position. Exporters disagree about those of other joints: they
    take the place of the OFFSETs, except in a file in which most are less than half as long and so must be added.

    Read as meant: UTF-16, decimal commas, numbers separated by commas or semicolons, a Ctrl-Z at the end, ``MOTION``
    and ``Frames`` on one line, ``Frame Time`` before ``Frames``, lines of comments (``#``, ``//``), ``EndSite``, an End
    Site without OFFSET (it is at its joint), scale channels of 1.

    Args:
        path: the file.
        mend: also read as meant other common mistakes, with a note: CMU's missing trunk bone, another number of frames
            than the file says, a prop beside the body (``bvh_mending``), no ``Frame Time`` (it is then NaN).

    Raises:
        UserError: the file is unreadable, truncated or not a .bvh file, or a number in it is missing, malformed or not
            finite; the message names the line.
    """
    text = decode(path, read_bytes(path), ".bvh")
    lines = text.rstrip("\x1a\n\r \t\0").splitlines()
    start = next((i for i, line in enumerate(lines) if _MOTION.match(line)), None)
    if start is None:
        if not lines or not any(line.strip().upper().startswith("HIERARCHY") for line in lines[:20]):
            raise UserError(f"{path}: not a .bvh file (it does not begin with HIERARCHY)")
        raise UserError(f"{path}: truncated: no MOTION after line {len(lines)}")
    nodes = _parse_hierarchy(path, lines[:start], several=mend)
    channels = sum(len(node.channels) for node in nodes)
    ended = text.rstrip("\x1a \t\0").endswith(("\n", "\r"))
    frame_time, values, said = _parse_motion(path, lines, start, channels, mend, ended)
    notes = [said] if said else []
    if mend:
        nodes, values, beside = one_body(path, nodes, values)
        bone = mend_trunk(nodes)
        notes += [f"CMU's missing trunk bone put back ({bone:.3g} long)"] if bone is not None else []
        notes += [f"left out beside the body: {', '.join(beside)}"] if beside else []
    check_size(path, len(values), len(nodes), sum(map(len, lines)))
    _refuse_scales(path, nodes, values)
    positions, added = _positions(nodes, values)
    if not (np.abs(positions) < _FARTHEST).all():
        raise UserError(f"{path}: joint positions of {np.abs(positions).max():.3g} are too large to be a motion")
    rest = np.zeros((len(nodes), 3))
    for index, node in enumerate(nodes):
        rest[index] = node.offset
        if node.parent >= 0:
            rest[index] += rest[node.parent]
    names, parents = tuple(node.name for node in nodes), tuple(node.parent for node in nodes)
    return Capture(names, parents, positions, rest, frame_time, added, tuple(notes))


def _parse_hierarchy(path: str | Path, lines: list[str], several: bool) -> list[Node]:
    nodes: list[Node] = []
    opened: list[int] = []
    declared: int | None = None  # a node whose brace has not come yet
    for number, whole in enumerate(lines, start=1):

        def refuse(reason: str, number: int = number) -> NoReturn:
            raise UserError(f"{path}: line {number}: {reason}")

        for line in (piece.strip() for piece in _PIECES.split(whole) if piece and not is_comment(whole)):
            if not line:
                continue
            word, *rest = line.split()
            name = line[len(word) :].strip()
            word = word.upper()
            if word in ("ROOT", "JOINT", "END", "ENDSITE", "END_SITE"):
                word = "END" if word.startswith("END") else word
                if not name and word != "END":
                    refuse(f"{word} without a name")
                if word == "ROOT" and nodes and (opened or not several):
                    refuse(f"a second skeleton, {name!r}; expected one in a file")
                if word != "ROOT" and not opened:
                    refuse(f"{line!r} outside of a ROOT")
                parent = opened[-1] if opened else -1
                declared = len(nodes)
                nodes.append(Node(f"{nodes[parent].name}.end" if word == "END" else name, parent))
            elif word == "{":
                if declared is None:
                    refuse("a brace that opens no ROOT, JOINT or End Site")
                else:
                    opened.append(declared)
                    declared = None
            elif word == "}":
                if not opened:
                    refuse("one brace too many")
                opened.pop()
            elif word == "OFFSET" and opened:
                rest = separated(" ".join(rest)).split()
                nodes[opened[-1]].offset = _three_numbers(rest) if len(rest) == 3 else None
                if nodes[opened[-1]].offset is None:
                    refuse(f"{line!r}, expected OFFSET and three numbers")
            elif word == "CHANNELS" and opened:
                found = [_CHANNEL.fullmatch(name) for name in rest[1:]]
                if not rest or rest[0] != str(len(found)) or None in found:
                    refuse(f"{line!r}, expected CHANNELS, how many, and that many of Xposition to Zrotation")
                channels = [(match[2].lower(), _AXES.index(match[1].lower())) for match in found if match]
                if _repeat(channels):
                    refuse(f"{line!r}: a channel appears twice")
                nodes[opened[-1]].channels = channels
            elif word != "HIERARCHY":
                refuse(f"{line[:40]!r}, expected ROOT, JOINT, End Site, OFFSET, CHANNELS or a brace")
    if not nodes:
        raise UserError(f"{path}: no ROOT in the hierarchy")
    if len(nodes) > _MOST_NODES:
        raise UserError(f"{path}: {len(nodes)} joints, expected those of one body (at most {_MOST_NODES})")
    if opened or declared is not None:
        raise UserError(f"{path}: the hierarchy ends inside {nodes[opened[-1] if opened else declared or 0].name!r}")
    for node in nodes:
        if node.offset is None and node.name.endswith(".end"):
            node.offset = np.zeros(3)
        if node.offset is None:
            raise UserError(f"{path}: joint {node.name!r} has no OFFSET")
    return nodes


def _repeat(channels: list[tuple[str, int]]) -> bool:
    """Whether a channel is repeated; rotations about Z, X and Z are three, like those about Z, X and Y."""
    turns = [axis for kind, axis in channels if kind == "rotation"]
    others = [channel for channel in channels if channel[0] != "rotation"]
    return len(set(others)) < len(others) or len(turns) > 3 or any(a == b for a, b in itertools.pairwise(turns))


def _three_numbers(words: list[str]) -> np.ndarray | None:
    if any("," in word for word in words) and not any("." in word for word in words):
        words = [word.replace(",", ".") for word in words]
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _parse_motion(
    path: str | Path, lines: list[str], start: int, channels: int, mend: bool, ended: bool
) -> tuple[float, np.ndarray, str]:
    """The frame time in seconds and the values (frames, channels) from the line of MOTION, index ``start``, on; and a
    note on what was mended. ``ended``: the last line is whole."""
    head = [(start, _MOTION.sub("", lines[start]))]
    head += [(number, lines[number]) for number in range(start + 1, min(start + 20, len(lines)))]
    told = [(number, line.strip()) for number, line in head if line.strip() and not is_comment(line)]
    said_frames = timed = None
    first = start + 1  # index of the first line of values
    while told and (said_frames is None or timed is None):
        number, line = told[0]
        if said_frames is None and (said_frames := _FRAMES.match(line)) is not None:
            rest = line[said_frames.end() :].strip()
            told = [(number, rest), *told[1:]] if rest else told[1:]
        elif timed is None and (timed := _FRAME_TIME.fullmatch(line)) is not None:
            told = told[1:]
        else:
            break
        first = number + 1
    if said_frames is None or (timed is None and not (mend and _begins_with_numbers(told))):
        raise UserError(f"{path}: expected 'Frames: N' and 'Frame Time: SECONDS' after MOTION (line {start + 1})")
    frames = int(said_frames[1][:18])
    written = timed[1] if timed is not None else "nan"
    try:
        frame_time = float(written.replace(",", "."))
    except ValueError:
        raise UserError(f"{path}: frame time {written!r}, expected seconds") from None
    if frames == 0:
        raise UserError(f"{path}: no frames (Frames: 0), expected at least one")
    rows = [(number, line) for number, line in enumerate(lines[first:], first + 1) if line.strip()]
    rows = [(number, line) for number, line in rows if not is_comment(line)]
    if rows and separated(rows[0][1]) != rows[0][1]:
        rows = [(number, separated(line)) for number, line in rows]
    if rows and _decimal_commas(rows[0][1]):
        rows = [(number, line.replace(",", ".")) for number, line in rows]
    note = ""
    if mend and len(rows) != frames:
        rows, note = mended_rows(rows, frames, channels, ended)
        frames = len(rows) if note else frames
    if len(rows) != frames:
        state = "truncated: " if len(rows) < frames else ""
        raise UserError(f"{path}: {state}{counted(len(rows), 'line')} of values, but 'Frames: {frames}'")
    if 2 * frames * channels > sum(len(line) + 1 for _, line in rows):  # a number and a space: some line has too few
        for number, line in rows:
            _row(path, number, line, channels)
    values = np.empty((frames, channels))
    for begin in range(0, frames, _ROWS):
        part = rows[begin : begin + _ROWS]
        found = _numbers("\n".join(line for _, line in part))
        if len(found) != len(part) * channels:
            found = np.concatenate([_row(path, number, line, channels) for number, line in part])
        values[begin : begin + len(part)] = found.reshape(len(part), channels)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise UserError(f"{path}: line {rows[int((~finite).argmax())][0]}: NaN or infinite values")
    return frame_time, values, note


def _begins_with_numbers(told: list[tuple[int, str]]) -> bool:
    return bool(told) and len(_numbers(separated(told[0][1]))) > 0


def _row(path: str | Path, number: int, line: str, channels: int) -> np.ndarray:
    words = line.split()
    if len(words) != channels:
        said = f"{counted(len(words), 'value')}, but the hierarchy has {counted(channels, 'channel')}"
        raise UserError(f"{path}: line {number}: {said}")
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        raise UserError(f"{path}: line {number}: expected {counted(channels, 'number')}") from None


def _numbers(text: str) -> np.ndarray:
    """The numbers of a text; empty if it holds anything else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy says that it goes on with no number
        try:
            return np.fromstring(text, sep=" ")
        except (DeprecationWarning, ValueError):
            return np.empty(0)


def _decimal_commas(line: str) -> bool:
    """Whether most of the numbers of a line have a decimal comma, and none a point."""
    words = line.split()
    return "." not in line and 2 * sum("," in word for word in words) > len(words)


def _refuse_scales(path: str | Path, nodes: list[Node], values: np.ndarray) -> None:
    """Scale channels, which Poser and iPi write, mean nothing where all are 1, or 0 for none. About other values
    exporters disagree: whether they stretch a joint's own bone, and whether the bones below inherit them.

    Raises:
        UserError: a joint is scaled.
    """
    kinds = [(node, kind) for node in nodes for kind, _ in node.channels]
    for column, (node, kind) in enumerate(kinds):
        if kind == "scale" and not any(np.allclose(values[:, column], scale, atol=1e-3) for scale in (1.0, 0.0)):
            raise UserError(
                f"{path}: joint {node.name!r} is scaled by up to {values[:, column].max():.3g}; expected scale "
                "channels of 1, because exporters disagree about others: export bones of constant length"
            )


def _positions(nodes: list[Node], values: np.ndarray) -> tuple[np.ndarray, bool]:
    """Positions (T, N, 3), and whether position channels are added to OFFSETs."""
    added = _positions_are_added(nodes, values)
    places: list[np.ndarray] = []
    turns = []
    column = 0
    for node in nodes:
        place, turn = np.asarray(node.offset), []
        if any(kind == "position" for kind, _ in node.channels):
            place = np.tile(place, (len(values), 1))
        for kind, axis in node.channels:
            if kind == "rotation":
                turn.append((axis, np.deg2rad(values[:, column])))
            elif kind == "position" and added and node.parent >= 0:
                place[:, axis] += values[:, column]
            elif kind == "position":
                place[:, axis] = values[:, column]
            column += 1
        places.append(place)
        turns.append(turn)
    if all(place.ndim == 1 for place in places):
        places[0] = np.tile(places[0], (len(values), 1))
    return forward_kinematics([node.parent for node in nodes], places, turns), added


def _positions_are_added(nodes: list[Node], values: np.ndarray) -> bool:
    shares = []
    column = 0
    for node in nodes:
        moved = [(column + step, axis) for step, (kind, axis) in enumerate(node.channels) if kind == "position"]
        column += len(node.channels)
        length = float(np.linalg.norm(np.asarray(node.offset)[[axis for _, axis in moved]]))
        if node.parent >= 0 and moved and length > 0:
            shares.append(np.median(np.linalg.norm(values[:, [place for place, _ in moved]], axis=1)) / length)
    return bool(shares) and float(np.median(shares)) < 0.5
