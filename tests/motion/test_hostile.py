"""Motion files that are no files, or that ask for far more memory than they have bytes."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m2t_fast.errors import UserError
from m2t_fast.motion import read_motions
from m2t_fast.motion.kinds import SUFFIXES
from m2t_fast.motion.options import MotionOptions
from m2t_fast.skeleton import HUMANML3D


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("suffix", (*SUFFIXES, ""))
@pytest.mark.parametrize("what", ["pipe", "device", "folder", "link to nothing"])
def test_only_regular_files_are_opened(suffix: str, what: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to would wait for ever, /dev/zero never ends."""
    path = tmp_path / f"m{suffix}"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot read: (it is not a regular file|it is a folder|No such file)"):
        read_motions(path, HUMANML3D)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("option", ["asf", "body_model"])
def test_files_that_options_name(option: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    if option == "asf":
        (path := tmp_path / "m.amc").write_text("1\nroot 0 0 0 0 0 0\n")
    else:
        np.savez(path := tmp_path / "m.npz", poses=np.zeros((3, 72)))
    with pytest.raises(UserError, match="it is not a regular file"):
        read_motions(path, HUMANML3D, MotionOptions(**{option: tmp_path / "pipe.npz"}))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_buffers_of_gltf_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.bin")
    document, _ = _gltf(nodes=2, keys=2)
    document["buffers"][0]["uri"] = "m.bin"
    (tmp_path / "m.gltf").write_text(json.dumps(document))
    with pytest.raises(UserError, match="its buffer m.bin: it is not a regular file"):
        read_motions(tmp_path / "m.gltf", HUMANML3D)


def test_a_hierarchy_without_channels_in_many_frames(tmp_path: Path) -> None:
    """3,000 joints in 100,000 frames of two bytes: 7 GB of positions."""
    joints = "".join(f"JOINT j{number}\n{{\nOFFSET 0 1 0\nCHANNELS 0\n}}\n" for number in range(2990))
    text = f"HIERARCHY\nROOT r\n{{\nOFFSET 0 0 0\nCHANNELS 1 Xposition\n{joints}}}\nMOTION\n"
    (tmp_path / "m.bvh").write_text(text + "Frames: 100000\nFrame Time: 0.01\n" + "1\n" * 100_000)
    with pytest.raises(UserError, match="100,000 frames of 2,991 nodes are too many for a file of "):
        read_motions(tmp_path / "m.bvh", HUMANML3D)


def test_bones_without_values_in_many_frames(tmp_path: Path) -> None:
    bones = "".join(f"begin\nname b{n}\ndirection 0 1 0\nlength 1\naxis 0 0 0 XYZ\nend\n" for n in range(900))
    hung = "".join(f"root b{n}\n" for n in range(900))
    (tmp_path / "m.asf").write_text(f":root\norder TX\n:bonedata\n{bones}:hierarchy\nbegin\n{hung}end\n")
    (tmp_path / "m.amc").write_text("".join(f"{frame}\nroot 1\n" for frame in range(1, 20_000)))
    with pytest.raises(UserError, match="19,999 frames of 901 nodes are too many"):
        read_motions(tmp_path / "m.amc", HUMANML3D)


def _gltf(nodes: int, keys: int, accessors: int = 1) -> tuple[dict[str, Any], bytes]:
    """Nodes that all turn by the same curve, whose last key is an hour away."""
    times = np.append(np.arange(keys - 1) / 60, 3000.0).astype("<f4")
    turns = np.tile(np.array([0, 0, 0, 1], "<f4"), (keys, 1))
    chunk = times.tobytes() + turns.tobytes()
    kinds = [(0, times.nbytes, "SCALAR"), *[(times.nbytes, turns.nbytes, "VEC4")] * accessors]
    document = {
        "asset": {"version": "2.0"}, "scenes": [{"nodes": list(range(nodes))}],
        "nodes": [{"name": f"n{number}"} for number in range(nodes)], "buffers": [{"byteLength": len(chunk)}],
        "bufferViews": [{"buffer": 0, "byteOffset": begin, "byteLength": size} for begin, size, _ in kinds],
        "accessors": [{"bufferView": number, "componentType": 5126, "count": keys, "type": kind}
                      for number, (*_, kind) in enumerate(kinds)],
        "animations": [{
            "samplers": [{"input": 0, "output": 1 + number} for number in range(accessors)],
            "channels": [{"sampler": node % accessors, "target": {"node": node, "path": "rotation"}}
                         for node in range(nodes)]}],
    }  # fmt: skip
    return document, chunk


@pytest.mark.parametrize(
    ("nodes", "keys", "accessors", "message"),
    [(300, 5, 1, "frames of 300 nodes are too many"), (150, 20_000, 150, "its accessors take far more memory")],
)
def test_curves_that_are_shared(nodes: int, keys: int, accessors: int, message: str, tmp_path: Path) -> None:
    pytest.importorskip("pygltflib", reason="pygltflib reads glTF (extra mocap)")
    document, chunk = _gltf(nodes, keys, accessors)
    document["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(chunk).decode()
    (tmp_path / "m.gltf").write_text(json.dumps(document))
    with pytest.raises(UserError, match=message):
        read_motions(tmp_path / "m.gltf", HUMANML3D)
