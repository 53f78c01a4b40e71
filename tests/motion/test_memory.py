"""Hostile motion files are refused within 2 GiB of memory and ten seconds, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="this system does not limit the memory of a process")

MOST = 2 << 30
"""Bytes that a file may take beyond those of a process that has read none."""

# The limit is on addresses, of which libraries reserve more than they use: it counts from where they are loaded.
SCRIPT = f"""
import resource, sys, time
from m2t_fast.errors import UserError
from m2t_fast.motion import read_motions
from m2t_fast.skeleton import HUMANML3D
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + {MOST}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[1:]:
    begun = time.process_time()
    try:
        read_motions(path, HUMANML3D)
        print("read", path)
    except UserError as error:
        print("refused", " ".join(str(error).split()))
    if time.process_time() - begun > 10.0:
        sys.exit(f"{{path}} took {{time.process_time() - begun:.1f}} s of processor time")
"""


def nodes(count: int, channels: str = "CHANNELS 0") -> str:
    """A .bvh hierarchy of one chain."""
    opened = "".join(f"{'JOINT' if n else 'ROOT'} n{n}\n{{\nOFFSET 0 1 0\n{channels}\n" for n in range(count))
    return "HIERARCHY\n" + opened + "End Site\n{\nOFFSET 0 1 0\n}\n" + "}\n" * count


def motion(frames: int, rows: str) -> str:
    return f"MOTION\nFrames: {frames}\nFrame Time: 0.01\n{rows}"


def gltf(count: int, **accessor: int) -> str:
    """A glTF file whose accessor claims to hold ``count`` numbers."""
    data = "data:application/octet-stream;base64,AAAAAA=="
    return json.dumps(
        {
            "asset": {"version": "2.0"},
            "nodes": [{"name": f"n{n}", "children": [n + 1]} for n in range(30)] + [{"name": "n30"}],
            "skins": [{"joints": list(range(31))}],
            "buffers": [{"byteLength": 4, "uri": data}],
            "bufferViews": [{"buffer": 0, "byteLength": 4}],
            "accessors": [{"bufferView": 0, "componentType": 5126, "type": "SCALAR", "count": count, **accessor}],
            "animations": [
                {
                    "samplers": [{"input": 0, "output": 0}],
                    "channels": [{"sampler": 0, "target": {"node": 0, "path": "rotation"}}],
                }
            ],
        }
    )


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 22, 3), }".ljust(117) + "\n"
HEADER_SIZE = chr(len(HEADER)) + "\x00"

HOSTILE: dict[str, Callable[[], str]] = {
    "frames.bvh": lambda: nodes(40) + motion(10**15, "1\n"),
    "frames of nothing.bvh": lambda: nodes(2900) + motion(10**6, "\n" * 10**6),
    "rows.bvh": lambda: nodes(2900, "CHANNELS 1 Xrotation") + motion(300_000, "0 " * 2900 + "\n" + "0\n" * 299_999),
    "deep.bvh": lambda: nodes(20_000) + motion(1, "\n"),
    "channels.bvh": lambda: nodes(1, f"CHANNELS {10**9} Xrotation") + motion(1, "0\n"),
    "one line.bvh": lambda: nodes(40, "CHANNELS 3 Xrotation Yrotation Zrotation") + motion(10_000, "0 " * 1_200_000),
    "count.gltf": lambda: gltf(10**12),
    "sparse.gltf": lambda: gltf(10**9, bufferView=0, byteOffset=10**12),
    "nested.gltf": lambda: "[" * 2_000_000,
    "frames.amc": lambda: (
        ":FULLY-SPECIFIED\n:DEGREES\n" + "".join(f"{n}\nroot 0 0 0 0 0 0\n" for n in range(1, 200_000))
    ),
    "header.npy": lambda: "\x93NUMPY\x01\x00" + HEADER_SIZE + HEADER,
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc: the size of a process is not told")
def test_hostile_files_take_no_more_than_two_gibibytes(tmp_path: Path) -> None:
    paths = []
    for name, content in HOSTILE.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content().encode("latin-1"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, paths)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths) and all(line.startswith("refused") for line in lines), done.stdout
    for line, path in zip(lines, paths, strict=True):
        assert path.name in line and "MemoryError" not in line and len(line) < 500, line
