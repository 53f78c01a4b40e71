"""Damage to files: bytes at random, and JSON and safetensors headers of other kinds and beyond reason."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

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
        content = draw.choice((_of_bytes, _of_json, _of_json, _of_header, _of_lines))(content, draw)
    return content


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
    text = _dumped(_changed(header, draw), draw)
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


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
