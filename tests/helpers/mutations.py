"""Damage to files: bytes at random, and JSON, headers and members of archives of other kinds and beyond reason."""

from __future__ import annotations

import io
import json
import math
import random
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from m2t_fast.data import cache

_Kind = Callable[[bytes, random.Random], bytes]

HOSTILE: list[Any] = [
    None, True, -1, 0, 1, 1.5, 2**62, 2**64, 10**20, 10**400, -(2**63), 1e308, -1e308, 1e-300, float("nan"),
    float("inf"), "", "x", "\x1b[31m", "\ud800", "\udcff", "../../x", "a\rb", "a\0b", "x" * 1000, [], {}, [[]],
    [None], {"a": {}}, ["x"] * 50, "F8_E4M3", "I64", "BOOL", [2**40, 2**40], [0, 2**62], [-1], [0],
]  # fmt: skip
_DEEP = "[" * 100_000
_DIGITS = "9" * 5000


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Another content, damaged in one to three places."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice((_of_bytes, *_kinds_of(content)))(content, draw)
    return content


def _kinds_of(content: bytes) -> tuple[_Kind, ...]:
    """Damage that keeps enough of the form to get past the first check."""
    for begin, kinds in _BY_BEGIN.items():
        if content.startswith(begin):
            return kinds
    return (_of_json, _of_json, _of_header, _of_lines)


def _of_bytes(content: bytes, draw: random.Random) -> bytes:
    place, other = (draw.randrange(len(content) + 1) for _ in range(2))
    kind = draw.randrange(7)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes(draw.randrange(256) for _ in range(draw.randrange(1, 9))) + content[place:]
    if kind == 2:
        return content[: min(place, other)] + content[max(place, other) :]
    if kind == 3:
        return content[:place] + content[min(place, other) : min(place, other) + 64] + content[place:]
    if kind == 4:
        return content[:place] + draw.choice((b"\0" * 64, b"\xff" * 8, b"\r", b"\n", b"\xed\xa0\x80")) + content[place:]
    if kind == 5 and content:
        changed = bytearray(content)
        for _ in range(draw.randrange(1, 5)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        return bytes(changed)
    return draw.choice((b"", b"{}", b"[]", b"null", b"\x80", _DEEP.encode(), content + content))


def _of_json(content: bytes, draw: random.Random) -> bytes:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return _of_lines(content, draw)
    return _dumped(_changed(value, draw), draw)


def _of_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines or len(content) > 1_000_000:
        return _of_bytes(content, draw)
    place = draw.randrange(len(lines))
    try:
        lines[place] = _dumped(_changed(json.loads(lines[place]), draw), draw) + b"\n"
    except (ValueError, RecursionError):
        words = lines[place].split(b" ")
        words[draw.randrange(len(words))] = str(draw.choice(HOSTILE)).encode("utf-8", "surrogatepass")
        lines[place] = b" ".join(words) + b"\n"
    return b"".join(lines)


def _of_header(content: bytes, draw: random.Random) -> bytes:
    """The header of a safetensors file, its length put right."""
    try:
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
    except (ValueError, struct.error, RecursionError, OverflowError):
        return _of_json(content, draw)
    if isinstance(header, dict) and "checksum" in header.get("__metadata__", ()):
        return _of_checked(content, draw)
    text = _dumped(_changed(header, draw), draw)
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def _of_checked(content: bytes, draw: random.Random) -> bytes:
    """The tensors or the dictionary of a cache, its checksum put right: what a forger or another version writes."""
    try:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(content)
            found = cache.fetch(Path(file.name))
    except OSError:
        found = None
    if found is None:
        return _of_bytes(content, draw)
    tensors, told = found
    name = draw.choice(sorted(tensors))
    kind = draw.randrange(6)
    if kind == 0:
        tensors.pop(name)
    elif kind == 1:
        tensors[name] = tensors[name][: draw.randrange(len(tensors[name]) + 1)].clone()
    elif kind == 2:
        tensors[name] = tensors[name].to(draw.choice((torch.float16, torch.float64, torch.int32, torch.int64)))
    elif kind == 3 and tensors[name].numel():
        wild = draw.choice((-1, 2**62, 10**6, float("nan"), 1e30))
        if not tensors[name].is_floating_point():
            whole, dtype = int(wild) if math.isfinite(wild) else 7, tensors[name].dtype
            least, most = (0, 1) if dtype is torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
            wild = min(max(whole, least), most)
        tensors[name].view(-1)[draw.randrange(tensors[name].numel())] = wild
    else:
        told = _changed(told, draw)
    with tempfile.TemporaryDirectory() as folder:
        with suppress(ValueError, TypeError):
            cache.store(Path(folder) / "a-b.safetensors", tensors, told)
        made = Path(folder) / "a-b.safetensors"
        return made.read_bytes() if made.exists() else content


def _changed(value: Any, draw: random.Random) -> Any:
    """One value of a JSON document replaced, left out or doubled."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(sorted(value))
        if draw.random() < 0.1:
            return {k: v for k, v in value.items() if k != name}
        return {**value, name: _changed(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        if draw.random() < 0.1:
            return value[:place] + value[place + 1 :]
        return [*value[:place], _changed(value[place], draw), *value[place + 1 :]]
    return draw.choice(HOSTILE)


def _dumped(value: Any, draw: random.Random) -> bytes:
    text = json.dumps(value)
    if (chance := draw.random()) < 0.02:
        text = text.replace("null", _DEEP, 1)
    elif chance < 0.04:
        text = text.replace("-1", _DIGITS, 1)
    return text.encode()


def _of_words(content: bytes, draw: random.Random) -> bytes:
    """Counts and offsets of binary files: some words of 2, 4 or 8 bytes are beyond reason."""
    changed = bytearray(content)
    for _ in range(draw.randrange(1, 4)):
        size, code = draw.choice(((2, "<H"), (4, "<I"), (8, "<Q")))
        if len(changed) < size:
            return bytes(changed)
        place = draw.randrange(0, min(len(changed) - size, draw.choice((64, 2048, 1 << 20))) + 1)
        most = (1 << 8 * size) - 1
        value = draw.choice((0, 1, 2, 255, most, most >> 1, (most >> 1) + 1, most - 1, draw.randrange(most)))
        changed[place : place + size] = struct.pack(code, value & most)
    return bytes(changed)


def _of_archive(content: bytes, draw: random.Random) -> bytes:
    """A member of a .zip archive is damaged, left out, doubled, renamed or unpacks to a lot."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError, OSError, KeyError):
        return _of_bytes(content, draw)
    if not members:
        return content
    place = draw.randrange(len(members))
    name, inner = members[place]
    kind = draw.randrange(8)
    if kind == 0:
        members.pop(place)
    elif kind == 1:
        members.append(members[place])
    elif kind == 2:
        members[place] = (draw.choice(("../../x", "\udcff.npy", "x/y/z", name + "x")), inner)
    elif kind == 3:
        members[place] = (name, inner + b"\0" * (1 << 26))
    else:
        members[place] = (name, mutate(inner, draw))
    made = io.BytesIO()
    packed = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with (
        warnings.catch_warnings(action="ignore"),  # two members of one name
        suppress(UnicodeEncodeError, ValueError, IndexError),
        zipfile.ZipFile(made, "w", packed, compresslevel=1) as archive,
    ):
        for name, inner in members:
            archive.writestr(name, inner, zipfile.ZIP_DEFLATED if len(inner) > 1 << 25 else packed)
    return made.getvalue()


def _of_npy(content: bytes, draw: random.Random) -> bytes:
    """The header of a .npy file: another type, shape or order, its length put right."""
    if len(content) < 10:
        return _of_bytes(content, draw)
    (size,) = struct.unpack("<H", content[8:10])
    header, rest = content[10 : 10 + size], content[10 + size :]
    begin, end = header.find(b"("), header.find(b")")
    shapes = (b"(4611686018427387904,)", b"(0, 22, 3)", b"(-1, 22, 3)", b"(99999999, 22, 3)", b"()", b"(True, 22, 3)",
              b"(1, " + b"1, " * 70 + b")", b"(3.0, 22, 3)", b"(6, 22, 3, 10**9)", b"[6, 22, 3]")  # fmt: skip
    types = (b"|O", b"<f2", b"<f16", b"<c16", b"|V4", b"<U8", b"<M8[s]", b"|b1", b">f4", b"<i8", b"|S0", b"x")
    if draw.random() < 0.5 and 0 <= begin < end:
        header = header[:begin] + draw.choice(shapes) + header[end + 1 :]
    else:
        for old in (b"<f4", b"<f8", b"|O", b"<i8"):
            header = header.replace(old, draw.choice(types))
    return content[:8] + struct.pack("<H", len(header) & 0xFFFF) + header + rest


def _of_glb(content: bytes, draw: random.Random) -> bytes:
    """The JSON of a .glb file, its lengths put right."""
    if len(content) < 20:
        return _of_bytes(content, draw)
    (size,) = struct.unpack_from("<I", content, 12)
    text = _of_json(content[20 : 20 + size], draw)
    body = struct.pack("<I", len(text)) + content[16:20] + text + content[20 + size :]
    return content[:8] + struct.pack("<I", 12 + len(body)) + body


def _of_pickle(content: bytes, draw: random.Random) -> bytes:
    """Steps put into a pickle: calls, states, marks, sizes beyond reason, one object many times over."""
    steps = (
        b"R", b"b", b"0", b"(", b"t", b"}", b"]", b"a", b"s", b"u", b"e", b".", b"N", b")", b"2", b"\x81", b"Q",
        b"h\x01", b"h\x03", b"q\x01", b"K\xff", b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
        b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cbuiltins\nlist\n", b"ccollections\nOrderedDict\n",
        b"cos\nsystem\n", b"cbuiltins\ngetattr\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"X\x02\0\0\0f8",
        b"J\xff\xff\xff\x7f\x85R", b"]q\x01h\x01a", b"}q\x01" + b"h\x01h\x01\x86q\x01" * 60, b"(" * 2000,
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f", b"](" * 500 + b"l" * 500,
    )  # fmt: skip
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.choice(steps) + content[draw.choice((place, min(place + 1, len(content)))) :]


_BY_BEGIN: dict[bytes, tuple[_Kind, ...]] = {
    b"PK": (_of_archive, _of_archive, _of_archive, _of_words),
    b"\x93NUMPY": (_of_npy, _of_npy, _of_pickle),
    b"glTF": (_of_glb, _of_glb, _of_glb, _of_words),
    b"\x80": (_of_pickle, _of_pickle, _of_words),
    b"\x02P": (_of_words, _of_words, _of_words),
}
