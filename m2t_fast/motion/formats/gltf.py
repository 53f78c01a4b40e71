"""glTF 2.0 files (.glb, .gltf, .vrm) with a skin and an animation: joints as they move in the world."""

from __future__ import annotations

import base64
import binascii
import json
import struct
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.files import resolved
from m2t_fast.motion.capture import Capture
from m2t_fast.reading import Unreadable, read_bytes

_RATE = 60.0  # frames per second that curves are sampled at where their keys are denser or uneven
_MOST_NODES, _MOST_FRAMES = 3000, 200_000
_MOST_MATRICES = 1 << 24  # of nodes in frames: 2 GiB
_MOST_VALUES = 1 << 20  # of an accessor; those without a buffer have no bytes to be compared with
_ALWAYS, _PER_BYTE = 1 << 26, 32  # bytes that accessors may take in any case, and for each byte of buffers
_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_WIDTH = {"translation": 3, "rotation": 4, "scale": 3}


def read_gltf(path: str | Path) -> Capture:
    """Reads the longest animation of a file with the nodes of its skins (without any, all nodes that have a name).

    Curves (STEP, LINEAR with spherical interpolation of rotations, CUBICSPLINE) are sampled at the rate of their keys,
    at most 60 per second. ``rest`` is the pose of the nodes without an animation. The hierarchy is that of all nodes;
    names are the nodes'.

    Raises:
        UserError: unreadable, truncated or malformed, pygltflib is missing, no skeleton or no animation.
    """
    file = _open(path)
    try:
        return _capture(Path(path), file)
    except UserError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, struct.error) as error:
        raise UserError(f"{path}: a malformed glTF file ({' '.join(str(error).split())[:120]})") from None
    except (RecursionError, MemoryError):
        raise UserError(f"{path}: a malformed glTF file (nested too deeply, or too large)") from None


def _open(path: str | Path) -> Any:
    try:
        from pygltflib import GLTF2
    except ImportError:
        raise UserError(f"{path}: reading glTF needs pygltflib: pip install 'm2t_fast[mocap]'") from None
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if content[:4] == b"glTF":
                _check_chunks(path, content)
                file = GLTF2.load_from_bytes(content)
            else:
                file = GLTF2.from_json(content.decode("utf-8-sig"))
    except UserError:
        raise
    except Exception as error:  # foreign bytes make the library raise nearly anything
        raise UserError(f"{path}: truncated or not a glTF file ({type(error).__name__})") from None
    if file is None or not file.nodes:
        raise UserError(f"{path}: a glTF file without nodes")
    return file


def _check_chunks(path: str | Path, content: bytes) -> None:
    """The lengths in the header are those of the file, so that nothing is read beyond it."""
    if len(content) < 20:
        raise UserError(f"{path}: truncated: {len(content)} bytes of a .glb file")
    version, length = struct.unpack_from("<II", content, 4)
    if version != 2 or length > len(content):
        reason = f"truncated: {len(content)} of {length} bytes" if version == 2 else f"glTF {version}, expected 2"
        raise UserError(f"{path}: {reason}")
    size, kind = struct.unpack_from("<I4s", content, 12)
    if kind != b"JSON" or 20 + size > len(content):
        raise UserError(f"{path}: a malformed .glb file (its first chunk is not JSON of its length)")
    try:
        json.loads(content[20 : 20 + size])
    except (ValueError, RecursionError):
        raise UserError(f"{path}: a malformed .glb file (its first chunk is not JSON)") from None


class _Buffers:
    """The bytes of a file's buffers, and arrays in them."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self.file = path, file
        self._bytes: dict[int, bytes] = {}
        self._arrays: dict[int, np.ndarray] = {}
        self._taken = 0

    def _buffer(self, index: int) -> bytes:
        if index not in self._bytes:
            uri = self.file.buffers[index].uri
            if uri is None:
                content = self.file.binary_blob()
                if content is None:
                    raise UserError(f"{self.path}: no binary chunk, but its accessors ask for it")
            elif uri.startswith("data:"):
                try:
                    content = base64.b64decode(uri.partition(",")[2], validate=False)
                except (ValueError, binascii.Error):
                    raise UserError(f"{self.path}: a buffer that is not base64") from None
            else:
                beside = resolved(self.path.parent / unquote(uri))
                if resolved(self.path.parent) not in beside.parents:
                    raise UserError(f"{self.path}: its buffer {uri!r} is outside of its folder")
                try:
                    content = read_bytes(beside)
                except Unreadable as error:
                    raise UserError(f"{self.path}: its buffer {uri}: {error.reason}") from None
            self._bytes[index] = content
        return self._bytes[index]

    def array(self, index: int) -> np.ndarray:
        """An accessor as (count, size) float64; integers that are normalised as -1 to 1."""
        if _index(index, self.file.accessors) not in self._arrays:
            self._arrays[index] = self._read(index)
            self._taken += self._arrays[index].nbytes
            if self._taken > _ALWAYS + _PER_BYTE * sum(map(len, self._bytes.values())):
                raise UserError(f"{self.path}: its accessors take far more memory than its buffers have bytes")
        return self._arrays[index]

    def _read(self, index: int) -> np.ndarray:
        accessor = self.file.accessors[index]
        dtype, size = np.dtype(_TYPES[accessor.componentType]), _SIZES[accessor.type]
        count = int(accessor.count)
        if count < 0 or (accessor.bufferView is None and count > _MOST_VALUES):
            raise UserError(f"{self.path}: accessor {index} has {count} values, expected 0 to {_MOST_VALUES:,}")
        if accessor.bufferView is None:
            array = np.zeros((count, size))
        else:
            array = self._view(index, accessor.bufferView, accessor.byteOffset or 0, dtype, (count, size))
        sparse = accessor.sparse
        if sparse is not None:
            few = int(sparse.count)
            if not 0 <= few <= count:
                raise UserError(f"{self.path}: accessor {index} replaces {few} of {count} values")
            where, what = sparse.indices, sparse.values
            kind = np.dtype(_TYPES[where.componentType])
            which = self._view(index, where.bufferView, where.byteOffset or 0, kind, (few, 1))[:, 0].astype(np.int64)
            if few and not (which.min() >= 0 and which.max() < count):
                raise UserError(f"{self.path}: accessor {index} replaces values beyond its {count}")
            array[which] = self._view(index, what.bufferView, what.byteOffset or 0, dtype, (few, size))
        if accessor.normalized and dtype.kind in "iu":
            array = np.maximum(array / np.iinfo(dtype).max, -1.0)
        return array

    def _view(self, index: int, number: Any, offset: int, dtype: np.dtype, shape: tuple[int, int]) -> np.ndarray:
        """``shape`` numbers of a buffer view, float64, for accessor ``index``."""
        view = self.file.bufferViews[_index(number, self.file.bufferViews)]
        content = self._buffer(_index(view.buffer, self.file.buffers))
        count, size = shape
        start = (view.byteOffset or 0) + offset
        step = view.byteStride or dtype.itemsize * size
        end = start + (count - 1) * step + dtype.itemsize * size if count else start
        if start < 0 or step < dtype.itemsize * size or end > len(content):
            raise UserError(f"{self.path}: accessor {index} asks for bytes {start} to {end} of {len(content)}")
        return np.ndarray(shape, dtype, content, start, (step, dtype.itemsize)).astype(np.float64)


def _index(value: Any, of: list[Any]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(of):
        raise ValueError(f"index {value!r} of {len(of)}")
    return value


def _capture(path: Path, file: Any) -> Capture:
    nodes = file.nodes
    if len(nodes) > _MOST_NODES:
        raise UserError(f"{path}: {len(nodes)} nodes, expected those of one body (at most {_MOST_NODES})")
    order, parents = _hierarchy(path, nodes)
    buffers = _Buffers(path, file)
    curves = _curves(path, file, buffers)
    if not curves:
        raise UserError(f"{path}: no animation in it; expected a skeleton that moves")
    times, rate = _times(curves)
    if len(nodes) * len(times) > _MOST_MATRICES:
        raise UserError(f"{path}: {len(times)} frames of {len(nodes)} nodes are too many")
    world: dict[int, np.ndarray] = {}
    still: dict[int, np.ndarray] = {}
    for node in order:
        local = _local(nodes[node], curves.get(node, {}), times)
        rest = _local(nodes[node], {}, np.zeros(1))[0]
        above = parents[node]
        world[node] = local if above < 0 else world[above] @ local
        still[node] = rest if above < 0 else still[above] @ rest
    joints = {_index(j, nodes) for skin in file.skins or [] for j in skin.joints or []}
    if joints:  # and what they hang on
        kept = set(joints)
        for node in joints:
            while parents[node] >= 0:
                node = parents[node]
                kept.add(node)
    else:
        kept = {node for node in range(len(nodes)) if nodes[node].mesh is None and nodes[node].camera is None}
    chosen = [node for node in order if node in kept]
    place = {node: number for number, node in enumerate(chosen)}
    frames = len(times)
    positions = np.stack([np.broadcast_to(world[node], (frames, 4, 4))[:, :3, 3] for node in chosen], axis=1)
    if not (np.isfinite(positions).all() and (np.abs(positions) < 1e30).all()):
        raise UserError(f"{path}: joint positions that are not finite or too large to be a motion")
    names = tuple((nodes[node].name or f"node {node}") for node in chosen)
    names = tuple(name[:-4] + "_end" if name.endswith(".end") else name for name in names)
    rest = np.stack([still[node][:3, 3] for node in chosen])
    hang = tuple(place.get(parents[node], -1) for node in chosen)
    count = len(file.animations)
    notes = () if count == 1 else (f"the longest of {count} animations",)
    return Capture(names, hang, positions, rest, 1.0 / rate, notes=notes)


def _hierarchy(path: Path, nodes: list[Any]) -> tuple[list[int], list[int]]:
    """Nodes with parents first, and every node's parent (-1: none)."""
    parents = [-1] * len(nodes)
    for node, described in enumerate(nodes):
        for child in described.children or []:
            child = _index(child, nodes)
            if parents[child] >= 0 or child == node:
                raise UserError(f"{path}: node {child} has two parents, or is its own")
            parents[child] = node
    order = [node for node in range(len(nodes)) if parents[node] < 0]
    for node in order:  # grows while it is gone through
        order += [child for child in nodes[node].children or []]
    if len(order) != len(nodes):
        raise UserError(f"{path}: nodes whose parents form a cycle")
    return order, parents


_Curve = tuple[np.ndarray, np.ndarray, str]


def _curves(path: Path, file: Any, buffers: _Buffers) -> dict[int, dict[str, _Curve]]:
    """The curves of the longest animation: node -> "translation", "rotation" or "scale" -> (times, values, how)."""
    best: dict[int, dict[str, _Curve]] = {}
    longest = -1.0
    for animation in file.animations or []:
        found: dict[int, dict[str, _Curve]] = {}
        end = 0.0
        for channel in animation.channels or []:
            what, node = channel.target.path, channel.target.node
            if what not in _WIDTH or node is None:
                continue
            sampler = animation.samplers[_index(channel.sampler, animation.samplers)]
            times, values = buffers.array(sampler.input)[:, 0], buffers.array(sampler.output)
            how = sampler.interpolation or "LINEAR"
            keys = len(times) * (3 if how == "CUBICSPLINE" else 1)
            good = len(times) > 0 and values.shape == (keys, _WIDTH[what]) and (np.diff(times) >= 0).all()
            if not good or not (np.isfinite(times).all() and np.isfinite(values).all()) or how not in (
                "LINEAR", "STEP", "CUBICSPLINE"
            ):  # fmt: skip
                raise UserError(f"{path}: a curve of node {node} ({what}) whose keys do not fit together")
            found.setdefault(_index(node, file.nodes), {})[what] = (times, values, how)
            end = max(end, float(times[-1]))
        if found and end > longest:
            best, longest = found, end
    return best


def _times(curves: dict[int, dict[str, _Curve]]) -> tuple[np.ndarray, float]:
    """The times of the frames, and their rate: that of the densest curve's keys, at most 60 per second."""
    keys = [curve[0] for node in curves.values() for curve in node.values()]
    start, end = min(float(times[0]) for times in keys), max(float(times[-1]) for times in keys)
    gaps = [float(np.median(gap)) for times in keys if len(gap := np.diff(times)[np.diff(times) > 1e-6])]
    rate = min(1.0 / min(gaps), _RATE) if gaps else _RATE
    rate = round(rate) if abs(rate - round(rate)) < 0.01 * rate and rate >= 1 else rate
    frames = int(np.floor((end - start) * rate + 1e-3)) + 1
    if frames > _MOST_FRAMES:
        raise ValueError(f"{frames} frames, at most {_MOST_FRAMES}")
    return start + np.arange(frames) / rate, float(rate)


def _local(node: Any, curves: dict[str, _Curve], times: np.ndarray) -> np.ndarray:
    """The matrices (T, 4, 4) of a node in its parent's frame; (1, 4, 4) where it does not move."""
    if node.matrix is not None and not curves:
        matrix = np.array(node.matrix, dtype=np.float64).reshape(4, 4).T
        return matrix[None]
    shift = np.array(node.translation or (0, 0, 0), dtype=np.float64)[None]
    turn = np.array(node.rotation or (0, 0, 0, 1), dtype=np.float64)[None]
    size = np.array(node.scale or (1, 1, 1), dtype=np.float64)[None]
    if shift.shape != (1, 3) or turn.shape != (1, 4) or size.shape != (1, 3):
        raise ValueError("a translation, rotation or scale of another size")
    if "translation" in curves:
        shift = _sample(curves["translation"], times, False)
    if "rotation" in curves:
        turn = _sample(curves["rotation"], times, True)
    if "scale" in curves:
        size = _sample(curves["scale"], times, False)
    frames = max(len(shift), len(turn), len(size))
    matrix = np.zeros((frames, 4, 4))
    matrix[:, :3, :3] = _matrices(turn) * size[:, None, :]
    matrix[:, :3, 3] = shift
    matrix[:, 3, 3] = 1.0
    return matrix


def _sample(curve: _Curve, times: np.ndarray, rotation: bool) -> np.ndarray:
    """The values of a curve at times; before its first key and after its last it stands still."""
    keys, values, how = curve
    cubic = how == "CUBICSPLINE"
    points = values[1::3] if cubic else values
    at = np.clip(times, keys[0], keys[-1])
    first = np.clip(np.searchsorted(keys, at, side="right") - 1, 0, max(len(keys) - 2, 0))
    second = np.minimum(first + 1, len(keys) - 1)
    gap = keys[second] - keys[first]
    share = np.where(gap > 0, (at - keys[first]) / np.where(gap > 0, gap, 1.0), 0.0)[:, None]
    if how == "STEP":
        return points[np.where(share[:, 0] >= 1.0, second, first)]
    if cubic:
        leaving, coming = values[2::3][first] * gap[:, None], values[0::3][second] * gap[:, None]
        two, three = share**2, share**3
        found: np.ndarray = (
            (2 * three - 3 * two + 1) * points[first] + (three - 2 * two + share) * leaving
            + (3 * two - 2 * three) * points[second] + (three - two) * coming
        )  # fmt: skip
        return found
    if not rotation:
        return points[first] * (1 - share) + points[second] * share
    return _between(points[first], points[second], share)


def _between(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Spherical interpolation of quaternions (T, 4), the short way."""
    start, end = _unit(start), _unit(end)
    cosine = (start * end).sum(axis=1, keepdims=True)
    end = np.where(cosine < 0, -end, end)
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    near = angle < 1e-4
    sine = np.where(near, 1.0, np.sin(angle))
    first = np.where(near, 1 - share, np.sin((1 - share) * angle) / sine)
    second = np.where(near, share, np.sin(share * angle) / sine)
    return first * start + second * end


def _unit(quaternions: np.ndarray) -> np.ndarray:
    return quaternions / np.maximum(np.linalg.norm(quaternions, axis=1, keepdims=True), 1e-30)


def _matrices(quaternions: np.ndarray) -> np.ndarray:
    """Rotation matrices (T, 3, 3) of quaternions (T, 4), x y z w."""
    x, y, z, w = _unit(quaternions).T
    rows = [
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
