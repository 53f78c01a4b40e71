"""The .c3d format (https://www.c3d.org): labels and places of points, from bytes that may be damaged.

Read here because the library for it trusts offsets and sizes, so that a damaged file ends the whole process.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.reading import read_bytes

_BLOCK = 512
_INTEL, _DEC, _MIPS = 84, 85, 86
_DTYPES = {-1: "S1", 1: "i1", 2: "i2", 4: "f4"}
_LONGEST = 65535  # the header's number of the last frame; of longer captures it is in the parameters


class Points(NamedTuple):
    """``labels`` (M), ``places`` (T, M, 3) in the file's unit, NaN where a marker is lost, frames per second."""

    labels: list[str]
    places: np.ndarray
    rate: float


def read_points(path: str | Path) -> Points:
    """The points of a .c3d file.

    Raises:
        UserError: unreadable, truncated, malformed or without points.
    """
    content = read_bytes(path)
    if len(content) < _BLOCK or content[1] != 0x50:
        raise UserError(f"{path}: not a .c3d file, or truncated")
    try:
        points = _points(path, content)
    except UserError:
        raise
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, struct.error) as error:
        raise UserError(f"{path}: a malformed .c3d file ({' '.join(str(error).split())[:120]})") from None
    if not (points.places.size and np.isfinite(points.rate) and points.rate > 0):
        raise UserError(f"{path}: a .c3d file without points")
    return points


def _points(path: str | Path, content: bytes) -> Points:
    begin = (content[0] - 1) * _BLOCK
    processor = content[begin + 3] if 0 <= begin < len(content) - 3 else 0
    if processor not in (_INTEL, _DEC, _MIPS):
        raise ValueError(f"processor {processor}, expected {_INTEL}, {_DEC} or {_MIPS}")
    order = ">" if processor == _MIPS else "<"
    count, analogue, first, last = struct.unpack_from(f"{order}HHHH", content, 2)
    (start,) = struct.unpack_from(f"{order}H", content, 16)
    scale, rate = (float(_floats(content[at : at + 4], processor)[0]) for at in (12, 20))
    parameters = _parameters(content, begin, processor)
    frames = last - first + 1
    if last == _LONGEST and ("TRIAL", "ACTUAL_END_FIELD") in parameters:
        ends = [parameters["TRIAL", f"ACTUAL_{name}_FIELD"].astype("u2").astype(int) for name in ("START", "END")]
        begins, ended = (int(low) + 65536 * int(high) for low, high in ends)
        frames = ended - begins + 1
    width = 4 if scale < 0 else 2
    needed = (start - 1) * _BLOCK + frames * (4 * count + analogue) * width
    if len(content) < needed:
        raise UserError(f"{path}: truncated: {len(content)} of at least {needed} bytes of a .c3d file")
    if start < 1 or frames < 1 or not count:
        return Points([], np.empty((0, 0, 3)), rate)
    raw = content[(start - 1) * _BLOCK : needed]
    values = _floats(raw, processor) if width == 4 else np.frombuffer(raw, f"{order}i2")
    rows = values.reshape(frames, -1)[:, : 4 * count].reshape(frames, count, 4).astype(np.float64)
    places = rows[:, :, :3] * (1.0 if width == 4 else scale)
    # Programs write a lost marker in one of three ways.
    lost = (rows[:, :, 3] < 0) | (places == 0).all(axis=2) | np.isnan(places).any(axis=2)
    places[lost] = np.nan
    if not (np.abs(places[~lost]) < 1e30).all():
        raise ValueError("places that are not finite")
    told = parameters.get(("POINT", "RATE"))
    return Points(_labels(parameters)[:count], places, rate if told is None else float(told.reshape(-1)[0]))


def _floats(raw: bytes, processor: int) -> np.ndarray:
    """Numbers of 4 bytes, also in the format of DEC's machines: words swapped, four times as large."""
    if processor == _DEC:
        return np.frombuffer(raw, "<u2").reshape(-1, 2)[:, ::-1].copy().view("<f4").reshape(-1) / np.float32(4)
    return np.frombuffer(raw, ">f4" if processor == _MIPS else "<f4")


def _parameters(content: bytes, begin: int, processor: int) -> dict[tuple[str, str], np.ndarray]:
    """The arrays of parameters by the names of their group and their own, the first dimension varying fastest."""
    groups: dict[int, str] = {}
    found: list[tuple[int, str, np.ndarray]] = []
    place = begin + 4
    while place + 2 <= len(content):
        length, group = struct.unpack_from("bb", content, place)
        length = abs(length)  # negative: locked
        if not length or not group:
            break
        name = content[place + 2 : place + 2 + length].decode("latin-1").upper().strip()
        place += 2 + length
        (step,) = struct.unpack_from(">H" if processor == _MIPS else "<H", content, place)
        if group < 0:
            groups[-group] = name
        else:
            found.append((group, name, _array(content, place + 2, processor)))
        if not step:
            break
        place += step
    return {(groups.get(group, ""), name): array for group, name, array in found}


def _array(content: bytes, place: int, processor: int) -> np.ndarray:
    kind, dimensions = struct.unpack_from("bB", content, place)
    shape = struct.unpack_from(f"{dimensions}B", content, place + 2)
    dtype = np.dtype(_DTYPES[kind]).newbyteorder(">" if processor == _MIPS else "<")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    raw = content[place + 2 + dimensions :][:size]
    if len(raw) != size:
        raise ValueError("a parameter beyond the end of the file")
    array: np.ndarray = _floats(raw, processor) if kind == 4 else np.frombuffer(raw, dtype)
    return array.reshape(shape[::-1])


def _labels(parameters: dict[tuple[str, str], Any]) -> list[str]:
    """The labels of all points: 255 are in one parameter, others follow in LABELS2 and so on."""
    labels: list[str] = []
    for number in range(1, 300):
        array = parameters.get(("POINT", "LABELS" + (str(number) if number > 1 else "")))
        if array is None:
            break
        labels += [b"".join(row).decode("latin-1").strip(" \0") for row in np.atleast_2d(array).tolist()]
    return labels
