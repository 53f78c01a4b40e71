"""Launches ``gather_motions``."""

from __future__ import annotations

from torch import Tensor

from m2t_fast.kernels.gather import gather_motions as kernel
from m2t_fast.ops.triton.launch import configuration, on_device, ready, stored


def gather_motions(
    frames: Tensor, offsets: Tensor, index: Tensor, width: int, mean: Tensor | None, std: Tensor | None
) -> Tensor:
    """The padded batch of ``ops.gather_motions``."""
    rows, joints = frames.shape[:2]
    out = frames.new_empty(len(index), width, joints, 3, dtype=stored(frames))
    options = configuration("gather_motions", frames)
    programs = len(index) * -(-width * 3 * joints // options["BLOCK"])
    if programs:
        with on_device(frames):
            kernel[(programs,)](
                ready(frames),
                offsets.contiguous(),
                index.contiguous(),
                None if mean is None else ready(mean),
                None if std is None else ready(std),
                out,
                rows,
                len(offsets) - 1,
                width,
                WIDTH=3 * joints,
                **options,
            )
    return out.to(frames.dtype)
