"""What the device can do: tanh per second, exact and approximate, on registers alone, and bytes per second copied."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from gpu_part import Cell, Device, Section, milliseconds

PROGRAMS, BLOCK, COUNT = 4096, 1024, 512
COPIED = 1 << 28
"""Numbers of the copy: 1 GiB, far more than any cache."""
NAMES = ("tanh_per_s_exact", "tanh_per_s_approximate", "bytes_per_s")


def cells() -> Iterator[Cell]:
    """A row for each ceiling."""
    for name in NAMES:
        yield Cell({"ceiling": name}, "measured", key=True)


def measure(cell: Cell, device: Device) -> dict[str, Any]:
    """The rate, per second."""
    name = cell.row["ceiling"]
    if name == "bytes_per_s":
        source = torch.empty(COPIED, device=device.where)
        target = torch.empty_like(source)
        return {"value": 2 * source.nbytes / (milliseconds(lambda: target.copy_(source), device.where)[0] / 1e3)}
    from m2t_fast.kernels.ceilings import repeat_tanh

    out = torch.empty(PROGRAMS * BLOCK, device=device.where)
    approximate = name.endswith("approximate") and device.where != "cpu"  # the interpreter has no hardware tanh
    options = {"BLOCK": BLOCK, "APPROXIMATE": approximate, "enable_fp_fusion": True}
    run = functools.partial(repeat_tanh[(PROGRAMS,)], out, COUNT, **options)
    return {"value": PROGRAMS * BLOCK * COUNT / (milliseconds(run, device.where)[0] / 1e3)}


SECTION = Section("ceilings", cells, measure)
