"""Launches ``gather_motions``."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.ops.cpu.launch import addresses, empty, kernel


def gather_motions(
    frames: Tensor, offsets: Tensor, index: Tensor, width: int, mean: Tensor | None, std: Tensor | None
) -> Tensor:
    """The padded batch of ``ops.gather_motions``."""
    if frames.dtype not in (torch.float32, torch.float64):  # to widen all that is stored would cost more than is gained
        return reference.gather_motions(frames, offsets, index, width, mean, std)
    frames, offsets, index = frames.contiguous(), offsets.contiguous(), index.contiguous()
    statistics = [None if x is None else x.contiguous() for x in (mean, std)]
    rows, joints = frames.shape[:2]
    out = empty((len(index), width, joints, 3), frames)
    where = addresses([frames, offsets, index, *statistics, out])
    kernel("gather_motions", frames.dtype)(
        [rows, len(offsets) - 1, len(index), width, joints], *where, torch.get_num_threads()
    )
    return out
