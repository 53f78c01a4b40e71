"""glTF files: against a kinematics written down once more, and spoiled in many ways."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2t_fast.errors import UserError
from m2t_fast.motion import read_motion
from m2t_fast.skeleton import HUMANML3D

pytest.importorskip("pygltflib", reason="pygltflib reads glTF (extra mocap)")

from m2t_fast.motion.formats.gltf import read_gltf  # noqa: E402

# Metres, T-pose, Y up: name, parent, offset; "?" is the side.
BODY = [
    ("Hips", "", (0, 0.95, 0)), ("Spine", "Hips", (0, 0.1, 0)), ("Chest", "Spine", (0, 0.13, 0)),
    ("UpperChest", "Chest", (0, 0.12, 0)), ("Neck", "UpperChest", (0, 0.17, 0)), ("Head", "Neck", (0, 0.09, 0.02)),
    ("?Shoulder", "UpperChest", (0.06, 0.12, 0)), ("?UpperArm", "?Shoulder", (0.11, 0, 0)),
    ("?LowerArm", "?UpperArm", (0.27, 0, 0)), ("?Hand", "?LowerArm", (0.25, 0, 0)),
    ("?UpperLeg", "Hips", (0.09, -0.06, 0)), ("?LowerLeg", "?UpperLeg", (0, -0.41, 0)),
    ("?Foot", "?LowerLeg", (0, -0.42, 0)), ("?Toes", "?Foot", (0, -0.05, 0.13)),
]  # fmt: skip


def bones() -> list[tuple[str, str, np.ndarray]]:
    found = []
    for name, parent, offset in BODY:
        for side, sign in (("left", 1), ("right", -1)) if "?" in name else (("", 1),):
            found.append((name.replace("?", side), parent.replace("?", side), np.array(offset) * [sign, 1, 1]))
    return found


def matrix_of(quaternion: np.ndarray) -> np.ndarray:
    """By turning the axes with q v q*."""
    axis, w = quaternion[:3], quaternion[3]
    return np.stack([v + 2 * np.cross(axis, np.cross(axis, v) + w * v) for v in np.eye(3)], axis=1)


def build(seed: int, frames: int = 13, scale: float = 1.0, how: str = "LINEAR") -> tuple[dict[str, Any], bytes, dict]:
    """A document, its binary chunk, and where the nodes are at every key, (T, 3) by name."""
    rng = np.random.default_rng(seed)
    skeleton = bones()
    index = {name: number + 1 for number, (name, *_) in enumerate(skeleton)}
    nodes: list[dict[str, Any]] = [{"name": "Armature", "scale": [scale] * 3, "children": [index["Hips"]]}]
    for name, _, offset in skeleton:
        node: dict[str, Any] = {"name": name, "translation": list(map(float, offset))}
        below = [index[other] for other, above, _ in skeleton if above == name]
        nodes.append(node | ({"children": below} if below else {}))
    chunk, views, accessors = b"", [], []

    def accessor(array: np.ndarray, kind: str) -> int:
        nonlocal chunk
        content = array.astype("<f4").tobytes()
        views.append({"buffer": 0, "byteOffset": len(chunk), "byteLength": len(content)})
        accessors.append({"bufferView": len(views) - 1, "componentType": 5126, "count": len(array), "type": kind})
        chunk += content
        return len(accessors) - 1

    times = np.arange(frames) / 30.0
    clock = accessor(times[:, None], "SCALAR")
    samplers, channels, turns = [], [], {}
    for name, *_ in skeleton:
        axis = rng.normal(size=3)
        angle = 0.4 * np.sin(times * 3 + rng.uniform(0, 6))[:, None] / 2
        turn = np.concatenate([np.sin(angle) * axis / np.linalg.norm(axis), np.cos(angle)], axis=1)
        turns[name] = turn.astype("<f4").astype(float)
        keys = turn if how != "CUBICSPLINE" else np.stack([0 * turn, turn, 0 * turn], axis=1).reshape(-1, 4)
        samplers.append({"input": clock, "output": accessor(keys, "VEC4"), "interpolation": how})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": index[name], "path": "rotation"}})
    moved = np.array([0, 0.95, 0]) + times[:, None] * [0.2, 0, 0.9]
    samplers.append({"input": clock, "output": accessor(moved, "VEC3")})
    channels.append({"sampler": len(samplers) - 1, "target": {"node": index["Hips"], "path": "translation"}})
    where: dict[str, np.ndarray] = {}
    world: dict[str, np.ndarray] = {}
    for name, parent, offset in skeleton:
        own = np.stack([matrix_of(turn) for turn in turns[name]])
        if parent:
            world[name] = world[parent] @ own
            where[name] = where[parent] + scale * (world[parent] @ offset)
        else:
            world[name], where[name] = own, scale * moved
    document = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": nodes,
        "skins": [{"joints": list(index.values())}], "animations": [{"samplers": samplers, "channels": channels}],
        "buffers": [{"byteLength": len(chunk)}], "bufferViews": views, "accessors": accessors,
    }  # fmt: skip
    return document, chunk, where


def glb(document: Any, chunk: bytes) -> bytes:
    text = (document if isinstance(document, str) else json.dumps(document)).encode()
    text += b" " * (-len(text) % 4)
    chunk += b"\0" * (-len(chunk) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(chunk), b"BIN\0") + chunk
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


@pytest.mark.parametrize("how", ["LINEAR", "STEP", "CUBICSPLINE"])
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_kinematics(how: str, scale: float, tmp_path: Path) -> None:
    document, chunk, where = build(4, scale=scale, how=how)
    path = tmp_path / "m.glb"
    path.write_bytes(glb(document, chunk))
    capture = read_gltf(path)
    assert 1 / capture.frame_time == pytest.approx(30.0) and capture.names[0] == "Armature"
    for name, expected in where.items():
        found = capture.positions[:, capture.names.index(name)]
        if how != "STEP":  # whose keys begin a hair before or after the frames
            np.testing.assert_allclose(found, expected, atol=1e-5 * scale, err_msg=name)


def positions(document: dict[str, Any], chunk: bytes, path: Path) -> dict[str, np.ndarray]:
    path.write_bytes(glb(document, chunk))
    capture = read_gltf(path)
    return {name: capture.positions[:, index] for index, name in enumerate(capture.names)}


@pytest.mark.parametrize("base", [True, False])
@pytest.mark.parametrize("kind", [(5121, "u1"), (5123, "<u2"), (5125, "<u4")])
def test_sparse_accessors(base: bool, kind: tuple[int, str], tmp_path: Path) -> None:
    """The way of the hips, written as a few values that replace others, or zeros where there is no buffer view."""
    document, chunk, where = build(4)
    way = document["accessors"][document["animations"][0]["samplers"][-1]["output"]]
    which, values = np.array([0, 3, 12]), np.array([[1, 2, 3], [4, 5, 6], [-1, 0, 9]])
    chunk += b"\0" * (-len(chunk) % 4)
    views = document["bufferViews"]
    for content in (which.astype(kind[1]).tobytes(), values.astype("<f4").tobytes()):
        content += b"\0" * (-len(content) % 4)
        views.append({"buffer": 0, "byteOffset": len(chunk), "byteLength": len(content)})
        chunk += content
    document["buffers"][0]["byteLength"] = len(chunk)
    expected = where["Hips"].copy() if base else np.zeros((13, 3))
    expected[which] = values
    if not base:
        del way["bufferView"]
    indices = {"bufferView": len(views) - 2, "componentType": kind[0]}
    way["sparse"] = {"count": 3, "indices": indices, "values": {"bufferView": len(views) - 1}}
    found = positions(document, chunk, tmp_path / "m.glb")
    np.testing.assert_allclose(found["Hips"], expected, atol=1e-5)
    np.testing.assert_allclose(found["Head"] - found["Hips"], where["Head"] - where["Hips"], atol=1e-5)
    for wrong in ({"count": 14}, {"count": -1}, {"count": 10**9}, {"values": {"bufferView": 999}}):
        way["sparse"] |= wrong
        (tmp_path / "m.glb").write_bytes(glb(document, chunk))
        with pytest.raises(UserError, match="accessor|malformed"):
            read_gltf(tmp_path / "m.glb")


def test_an_accessor_without_a_buffer_view_is_zeros(tmp_path: Path) -> None:
    document, chunk, where = build(4)
    way = document["accessors"][document["animations"][0]["samplers"][-1]["output"]]
    del way["bufferView"]
    found = positions(document, chunk, tmp_path / "m.glb")
    np.testing.assert_allclose(found["Head"], where["Head"] - where["Hips"], atol=1e-5)
    way["count"] = 10**12
    (tmp_path / "m.glb").write_bytes(glb(document, chunk))
    with pytest.raises(UserError, match="values, expected 0 to"):
        read_gltf(tmp_path / "m.glb")


@pytest.mark.parametrize("as_matrix", [True, False])
def test_ancestors_that_turn_and_scale(as_matrix: bool, tmp_path: Path) -> None:
    """Two nodes above the hips, one of which scales the axes unequally, given by parts or as a matrix."""
    document, chunk, where = build(5)
    nodes = document["nodes"]
    turn, size, shift = np.array([0.3, -0.4, 0.5, np.sqrt(0.5)]), np.array([0.5, 2.0, 1.5]), np.array([3.0, -1.0, 2.0])
    if as_matrix:
        whole = np.eye(4)
        whole[:3, :3], whole[:3, 3] = matrix_of(turn) * size, shift
        nodes[0] = {"name": "Armature", "children": nodes[0]["children"], "matrix": whole.T.reshape(-1).tolist()}
    else:
        parts = {"rotation": turn.tolist(), "scale": size.tolist(), "translation": shift.tolist()}
        nodes[0] = {"name": "Armature", "children": nodes[0]["children"], **parts}
    nodes.append({"name": "Above", "rotation": [0, 0, np.sqrt(0.5), np.sqrt(0.5)], "scale": [2, 2, 2], "children": [0]})
    document["scenes"][0]["nodes"] = [len(nodes) - 1]
    found = positions(document, chunk, tmp_path / "m.glb")
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    for name, place in where.items():
        expected = 2.0 * ((matrix_of(turn) @ (size * place).T).T + shift) @ quarter.T
        np.testing.assert_allclose(found[name], expected, atol=2e-5, err_msg=name)


def test_the_longest_of_several_animations_and_the_joints_of_all_skins(tmp_path: Path) -> None:
    document, chunk, where = build(6)
    joints = document["skins"][0]["joints"]
    document["skins"] = [{"joints": joints[:9]}, {"joints": joints[5:]}]
    whole = document["animations"][0]
    short = {"samplers": whole["samplers"][:1], "channels": whole["channels"][:1]}
    still = dict(document["accessors"][whole["samplers"][0]["input"]], count=3)
    turns = dict(document["accessors"][whole["samplers"][0]["output"]], count=3)
    document["accessors"] += [still, turns]
    last = len(document["accessors"])
    short["samplers"] = [{"input": last - 2, "output": last - 1}]
    document["animations"] = [short, whole, short]
    found = positions(document, chunk, tmp_path / "m.glb")
    for name, place in where.items():
        np.testing.assert_allclose(found[name], place, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("how", ["STEP", "CUBICSPLINE", "LINEAR"])
def test_between_the_keys(how: str, tmp_path: Path) -> None:
    """The way of the hips on uneven keys at a sixtieth of a second: Hermite's cubic, steps and lines by hand."""
    document, chunk, _ = build(7)
    rng = np.random.default_rng(7)
    keys = np.array([0, 1, 4, 12]) / 60.0
    values, coming, leaving = rng.normal(size=(3, 4, 3))
    output = np.stack([coming, values, leaving], axis=1).reshape(-1, 3) if how == "CUBICSPLINE" else values
    for array, kind in ((keys[:, None], "SCALAR"), (output, "VEC3")):
        content = array.astype("<f4").tobytes()
        document["bufferViews"].append({"buffer": 0, "byteOffset": len(chunk), "byteLength": len(content)})
        view = len(document["bufferViews"]) - 1
        document["accessors"].append({"bufferView": view, "componentType": 5126, "count": len(array), "type": kind})
        chunk += content
    document["buffers"][0]["byteLength"] = len(chunk)
    last = len(document["accessors"])
    sampler = {"input": last - 2, "output": last - 1, "interpolation": how}
    channel = {"sampler": 0, "target": {"node": 1, "path": "translation"}}
    document["animations"] = [{"samplers": [sampler], "channels": [channel]}]
    document["nodes"].append({"name": "end"})
    found = positions(document, chunk, tmp_path / "m.glb")["Hips"]
    gaps = np.diff(keys)
    count = len(found)
    for frame, time in enumerate(np.arange(count) * keys[-1] / (count - 1)):
        at = min(int(np.searchsorted(keys, time + 1e-4, side="right")) - 1, 2)
        s = (time - keys[at]) / gaps[at]
        if how == "STEP":
            if min(s, 1 - s) * gaps[at] < 1e-3:
                continue  # a hair before or after the key
            expected = values[at]
        elif how == "LINEAR":
            expected = (1 - s) * values[at] + s * values[at + 1]
        else:
            expected = (
                (1 + 2 * s) * (1 - s) ** 2 * values[at] + s * (1 - s) ** 2 * gaps[at] * leaving[at]
                + s**2 * (3 - 2 * s) * values[at + 1] + s**2 * (s - 1) * gaps[at] * coming[at + 1]
            )  # fmt: skip
        np.testing.assert_allclose(found[frame], expected, atol=1e-4)


def test_as_a_motion_and_as_text(tmp_path: Path) -> None:
    document, chunk, where = build(4)
    path, text = tmp_path / "m.glb", tmp_path / "m.gltf"
    path.write_bytes(glb(document, chunk))
    joints, notes = read_motion(path, HUMANML3D)
    assert notes[0] == ".glb of 23 joints" and notes[1] == "VRM joint names" and "30 frames per second" in notes
    assert any(note.startswith("unit m (a body of about 1.") for note in notes)
    assert len(joints) == 9 and np.linalg.norm(joints[:, 1] - joints[:, 4], axis=1) == pytest.approx(0.41, abs=1e-3)
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(chunk).decode()
    text.write_text(json.dumps(document))
    np.testing.assert_array_equal(read_motion(text, HUMANML3D)[0], joints)
    document["buffers"][0]["uri"] = "m.bin"
    text.write_text(json.dumps(document))
    with pytest.raises(UserError, match="its buffer m.bin: No such file"):
        read_motion(text, HUMANML3D)
    (tmp_path / "m.bin").write_bytes(chunk)
    np.testing.assert_array_equal(read_motion(text, HUMANML3D)[0], joints)
    document["buffers"][0]["uri"] = "../../etc/passwd"
    text.write_text(json.dumps(document))
    with pytest.raises(UserError, match="outside of its folder"):
        read_motion(text, HUMANML3D)


def _change(document: dict[str, Any], key: str, value: Any) -> str:
    return json.dumps(document | {key: value})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: _change(d, "animations", []), "no animation in it"),
        (lambda d: _change(d, "nodes", []), "without nodes"),
        (lambda d: json.dumps(d).replace('"children": [1]', '"children": [0]'), "has two parents, or is its own"),
        (lambda d: json.dumps(d).replace('"name": "Head"', '"name": "Head", "children": [0]'), "parents form a cycle"),
        (lambda d: json.dumps(d).replace('"count": 13', '"count": 1000000000000'), "asks for bytes"),
        (lambda d: json.dumps(d).replace('"count": 13', '"count": -1'), "has -1 values"),
        (lambda d: json.dumps(d).replace('"children": [1]', '"children": [999]'), "malformed"),
        (lambda d: json.dumps(d).replace('"componentType": 5126', '"componentType": 1'), "malformed"),
        (lambda d: json.dumps(d)[:-30], "its first chunk is not JSON"),
        (lambda d: "[" * 100_000 + "]" * 100_000, "malformed"),
        (lambda d: "7", "truncated or not a glTF file"),
        (lambda d: json.dumps(d).replace('"bufferView": 0', '"bufferView": "x"'), "malformed"),
        (lambda d: json.dumps(d).replace('"VEC4"', '"MAT9"'), "malformed"),
        (lambda d: _change(d, "nodes", [{"name": "n"}] * 4000), "4000 nodes, expected those of one body"),
    ],
)
def test_malformed(spoil, message: str, tmp_path: Path) -> None:
    document, chunk, _ = build(1)
    path = tmp_path / "m.glb"
    path.write_bytes(glb(spoil(document), chunk))
    with pytest.raises(UserError) as error:
        read_gltf(path)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{path}: ") and message in str(error.value)


def test_times_without_end(tmp_path: Path) -> None:
    document, chunk, _ = build(1)
    times = np.frombuffer(chunk[:52], "<f4").copy()
    times[-1] = 1e30
    path = tmp_path / "m.glb"
    path.write_bytes(glb(document, times.tobytes() + chunk[52:]))
    with pytest.raises(UserError, match="malformed glTF file .*frames, at most"):
        read_gltf(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spoiled_files_are_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    document, chunk, _ = build(1, frames=4)
    content = bytearray(glb(document, chunk))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "m.glb"
    path.write_bytes(content)
    try:
        assert np.isfinite(read_gltf(path).positions).all()
    except UserError as error:
        assert "\n" not in str(error)
