"""Launches ``gather_motions``."""

from __future__ import annotations

from torch import Tensor

from m2t_fast.kernels.gather import gather_motions as kernel
from m2t_fast.ops.triton.launch import configuration, on_device, ready, stored
from m2t_fast.records import converted
from m2t_fast.reference.gather import GatherInputs


def gather_motions(x: GatherInputs) -> Tensor:
    """The padded batch of ``ops.gather_motions``."""
    options = configuration("gather_motions", x.frames)
    dtype, store, x = x.frames.dtype, stored(x.frames), converted(x, ready)
    rows, joints = x.frames.shape[:2]
    out = x.frames.new_empty(len(x.index), x.width, joints, 3, dtype=store)
    programs = len(x.index) * -(-x.width * 3 * joints // options["BLOCK"])
    if programs:
        with on_device(x.frames):
            kernel[(programs,)](
                x.frames,
                x.offsets,
                x.index,
                x.mean,
                x.std,
                out,
                rows,
                len(x.offsets) - 1,
                x.width,
                WIDTH=3 * joints,
                **options,
            )
    return out.to(dtype)
