"""A walking body in every kind of motion file that is read, for a fuzzer to damage."""

from __future__ import annotations

import base64
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

FRAMES = 6

BODY = {
    "Hips": ("", (0, 0.9, 0)), "Spine": ("Hips", (0, 0.15, 0)), "Chest": ("Spine", (0, 0.2, 0)),
    "Neck": ("Chest", (0, 0.2, 0)), "Head": ("Neck", (0, 0.12, 0)),
    **{f"{side}{name}": (parent if parent in ("Hips", "Chest") else f"{side}{parent}", (sign * x, y, z))
       for side, sign in (("Left", 1), ("Right", -1))
       for name, parent, (x, y, z) in (
           ("UpLeg", "Hips", (0.1, -0.05, 0)), ("Leg", "UpLeg", (0, -0.4, 0)), ("Foot", "Leg", (0, -0.4, 0)),
           ("Toe", "Foot", (0, -0.05, 0.12)), ("Shoulder", "Chest", (0.06, 0.15, 0)), ("Arm", "Shoulder", (0.1, 0, 0)),
           ("ForeArm", "Arm", (0.28, 0, 0)), ("Hand", "ForeArm", (0.25, 0, 0)))},
}  # fmt: skip
"""Joints: what they hang on, and where they are from there, in metres."""


def write_samples(folder: Path, joints: np.ndarray) -> None:
    """Writes ``take`` in every kind, and ``results.npy``, ``people.pkl`` and ``old.pt``; ``joints`` (T, 22, 3)."""
    (folder / "take.bvh").write_text(_bvh())
    (folder / "take.asf").write_text(_asf())
    (folder / "take.amc").write_text(":FULLY-SPECIFIED\n:DEGREES\n" + "".join(map(_amc_frame, range(1, FRAMES + 1))))
    document, chunk = _gltf()
    (folder / "take.glb").write_bytes(_glb(document, chunk))
    document["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(chunk).decode()
    (folder / "take.gltf").write_text(json.dumps(document))
    _write_smpl(folder)
    content = {"motion": np.stack([joints] * 2).transpose(0, 2, 3, 1), "text": ["a", "b"], "lengths": np.array([6, 4])}
    np.save(folder / "results.npy", np.array(content, dtype=object), allow_pickle=True)
    _write_c3d(folder / "take.c3d", joints)


def _bvh() -> str:
    def joint(name: str) -> str:
        offset = " ".join(map(str, BODY[name][1]))
        places = "6 Xposition Yposition Zposition" if name == "Hips" else "3"
        children = "".join(joint(other) for other, (parent, _) in BODY.items() if parent == name)
        inner = children or "End Site\n{\nOFFSET 0 0.05 0\n}\n"
        kind = "ROOT" if name == "Hips" else "JOINT"
        return f"{kind} {name}\n{{\nOFFSET {offset}\nCHANNELS {places} Zrotation Xrotation Yrotation\n{inner}}}\n"

    row = " ".join(["0.1", "0.9", "0.2", *["3.0"] * (3 * len(BODY))]) + "\n"
    return f"HIERARCHY\n{joint('Hips')}MOTION\nFrames: {FRAMES}\nFrame Time: 0.05\n{row * FRAMES}"


_CMU = {
    "lowerback": ("root", (0, 1, 0), 2.0), "upperback": ("lowerback", (0, 1, 0), 2.0),
    "thorax": ("upperback", (0, 1, 0), 2.0), "lowerneck": ("thorax", (0, 1, 0), 1.6),
    "upperneck": ("lowerneck", (0, 1, 0), 1.6), "head": ("upperneck", (0, 1, 0), 1.6),
    **{f"{side}{name}": (parent if parent in ("root", "thorax") else f"{side}{parent}", (sign * x, y, z), length)
       for side, sign in (("l", 1), ("r", -1))
       for name, parent, (x, y, z), length in (
           ("hipjoint", "root", (0.6, -0.7, 0.3), 2.4), ("femur", "hipjoint", (0.3, -0.94, 0), 7.0),
           ("tibia", "femur", (0.3, -0.94, 0), 7.0), ("foot", "tibia", (0.1, -0.3, 0.95), 2.0),
           ("toes", "foot", (0, 0, 1), 1.0), ("clavicle", "thorax", (0.9, 0.4, 0), 3.0),
           ("humerus", "clavicle", (1, 0, 0), 5.0), ("radius", "humerus", (1, 0, 0), 3.5),
           ("wrist", "radius", (1, 0, 0), 1.7), ("hand", "wrist", (1, 0, 0), 0.7))},
}  # fmt: skip


def _asf() -> str:
    bones = "".join(
        f"begin\nid {number}\nname {name}\ndirection {' '.join(map(str, direction))}\nlength {length}\n"
        "axis 0 0 0 XYZ\ndof rx ry rz\nend\n"
        for number, (name, (_, direction, length)) in enumerate(_CMU.items(), start=1)
    )
    hung: dict[str, list[str]] = {}
    for name, (parent, *_) in _CMU.items():
        hung.setdefault(parent, []).append(name)
    lines = "".join(f"{parent} {' '.join(children)}\n" for parent, children in hung.items())
    root = "order TX TY TZ RX RY RZ\naxis XYZ\nposition 0 0 0\norientation 0 0 0\n"
    units = ":units\nmass 1.0\nlength 0.45\nangle deg\n"
    return f":version 1.10\n{units}:root\n{root}:bonedata\n{bones}:hierarchy\nbegin\n{lines}end\n"


def _amc_frame(number: int) -> str:
    return f"{number}\nroot 1 18 {number} 2 3 4\n" + "".join(f"{name} {number} 2 3\n" for name in _CMU)


def _gltf() -> tuple[dict[str, Any], bytes]:
    names = list(BODY)
    nodes: list[dict[str, Any]] = []
    for name, (_, offset) in BODY.items():
        below = [names.index(other) for other, (parent, _) in BODY.items() if parent == name]
        nodes.append({"name": name, "translation": list(offset)} | ({"children": below} if below else {}))
    times = np.arange(FRAMES, dtype="<f4") / 30
    turns = np.tile(np.array([0.1, 0, 0, 0.995], "<f4"), (FRAMES, 1))
    moved = np.array([0, 0.9, 0], "<f4") + times[:, None] * np.array([0, 0, 1], "<f4")
    chunk, views, accessors = b"", list[dict[str, int]](), list[dict[str, Any]]()
    for content, kind in ((times, "SCALAR"), (turns, "VEC4"), (moved.astype("<f4"), "VEC3")):
        views.append({"buffer": 0, "byteOffset": len(chunk), "byteLength": content.nbytes})
        accessors.append({"bufferView": len(accessors), "componentType": 5126, "count": FRAMES, "type": kind})
        chunk += content.tobytes()
    samplers = [{"input": 0, "output": 1, "interpolation": "LINEAR"}, {"input": 0, "output": 2}]
    channels = [{"sampler": 0, "target": {"node": node, "path": "rotation"}} for node in range(1, len(nodes))]
    channels.append({"sampler": 1, "target": {"node": 0, "path": "translation"}})
    return {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": nodes,
        "skins": [{"joints": list(range(len(nodes)))}],
        "animations": [{"samplers": samplers, "channels": channels}],
        "buffers": [{"byteLength": len(chunk)}], "bufferViews": views, "accessors": accessors,
    }, chunk  # fmt: skip


def _glb(document: Any, chunk: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(chunk), b"BIN\0") + chunk
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _write_smpl(folder: Path) -> None:
    import torch

    draw = np.random.default_rng(0)
    pose, moved = draw.normal(0, 0.1, (FRAMES, 156)), draw.normal(0, 0.1, (FRAMES, 3))
    np.savez(folder / "take.npz", poses=pose, trans=moved, betas=np.zeros(16), mocap_framerate=np.array(60.0),
             gender=np.array("neutral"))  # fmt: skip
    one = {"pose_world": pose[:, :72], "trans_world": moved, "betas": np.zeros((FRAMES, 10))}
    (folder / "take.pkl").write_bytes(pickle.dumps({3: one, 8: one}))
    turns = np.tile(np.eye(3), (1, 24, 1, 1))
    person = {"global_orient": turns[0, :1], "body_pose": turns[0, 1:], "betas": np.zeros(10)}
    frames = {f"{n:03}.jpg": {"smpl": [person, person], "tracked_ids": [1, 2], "tid": [1]} for n in range(FRAMES)}
    (folder / "people.pkl").write_bytes(pickle.dumps(frames, protocol=2))
    whole = {"global_orient": pose[:, :3], "body_pose": pose[:, 3:66], "transl": moved, "betas": np.zeros((FRAMES, 10))}
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in whole.items()}
    content = {"smpl_params_global": tensors, "K_fullimg": np.eye(3)}
    torch.save(content, folder / "take.pt")
    torch.save(tensors, folder / "old.pt", _use_new_zipfile_serialization=False)


def _write_c3d(path: Path, joints: np.ndarray) -> None:
    """Plug-in Gait's markers at the joints that they are near; nothing where ezc3d is not installed."""
    try:
        import ezc3d
    except ImportError:
        return
    from m2t_fast.motion import JOINT_NAMES

    at = {name: joints[:, index].astype(float) for index, name in enumerate(JOINT_NAMES["humanml3d"])}
    found = {"C7": at["neck"] + [0, 0, -0.05], "CLAV": at["neck"] + [0, -0.06, 0.08]}
    for side, out in (("left", 0.1), ("right", -0.1)):
        letter = side[0].upper()
        found |= {f"{letter}ASI": at["pelvis"] + [out, 0, 0.07], f"{letter}PSI": at["pelvis"] + [out / 2, 0, -0.1]}
        for label, name in (("KNE", "knee"), ("ANK", "ankle"), ("TOE", "foot"), ("SHO", "shoulder"), ("ELB", "elbow")):
            found[letter + label] = at[f"{side}_{name}"]
        found |= {f"{letter}WRA": at[f"{side}_wrist"], f"{letter}WRB": at[f"{side}_wrist"] + [0, 0, 0.05]}
        found |= {f"{letter}FHD": at["head"] + [out, 0.1, 0.1], f"{letter}BHD": at["head"] + [out, 0.1, -0.1]}
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [100]
    file["parameters"]["POINT"]["LABELS"]["value"] = tuple(found)
    tracks = np.stack(list(found.values()), axis=1)
    up = 1000 * np.stack([tracks[..., 0], -tracks[..., 2], tracks[..., 1]])
    file["data"]["points"] = np.concatenate([up, np.ones_like(up[:1])]).transpose(0, 2, 1)
    file.write(str(path))
