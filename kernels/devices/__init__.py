"""Launch configurations: a table of block sizes and warps per device, and one that is safe everywhere.

A table maps a kernel's name to ``{"float32": {...}, "short": {...}}``; ``short`` is for bfloat16, with the hardware's
tanh, ``float32`` also for float16. Entries whose names are written in capitals are the kernel's compile-time sizes, the
others Triton's own launch options. A device's file is named after the device, as ``python -m m2t_fast.ops.triton.tune``
writes it, and may leave kernels out.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = "default"


def file_name(device: str) -> str:
    """``nvidia_h100_80gb_hbm3.json`` of the device name ``NVIDIA H100 80GB HBM3``."""
    return re.sub(r"[^a-z0-9]+", "_", device.lower()).strip("_") + ".json"


def tables() -> list[str]:
    """The devices that have a table, ``default`` first."""
    names = {path.stem for path in FOLDER.glob("*.json")}
    return [DEFAULT, *sorted(names - {DEFAULT})]


def table(device: str) -> dict[str, dict[str, dict[str, int]]]:
    """Every kernel's configurations on a device; the default's where it has none of its own."""
    merged: dict[str, dict[str, dict[str, int]]] = {}
    for name in (file_name(DEFAULT), file_name(device)):
        path = FOLDER / name
        for kernel, entries in (json.loads(path.read_text()) if path.exists() else {}).items():
            merged[kernel] = {**merged.get(kernel, {}), **entries}
    return merged


trial: dict[str, dict[str, dict[str, int]]] = {}
"""Configurations by kernel and kind that stand in for every device's table: what a search for better ones tries."""


def configuration(device: str, kernel: str, kind: str) -> dict[str, int]:
    """The configuration of one kernel for ``kind`` ``float32`` or ``short``."""
    return trial[kernel][kind] if trial else _configuration(device, kernel, kind)


@functools.cache
def _configuration(device: str, kernel: str, kind: str) -> dict[str, int]:
    return dict(table(device)[kernel][kind])
