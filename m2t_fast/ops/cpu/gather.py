"""Launches ``gather_motions``."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import addresses, empty, kernel
from m2t_fast.records import converted
from m2t_fast.reference.gather import GatherInputs


def gather_motions_takes(x: GatherInputs) -> str | None:
    """To widen all that is stored would cost more than is gained."""
    if x.frames.dtype in (torch.float32, torch.float64):
        return None
    return f"{x.frames.dtype} would have to be widened"


def gather_motions(x: GatherInputs) -> Tensor:
    """The padded batch of ``ops.gather_motions``."""
    x = converted(x, torch.Tensor.contiguous)
    rows, joints = x.frames.shape[:2]
    out = empty((len(x.index), x.width, joints, 3), x.frames)
    where = addresses([x.frames, x.offsets, x.index, x.mean, x.std, out])
    sizes = [rows, len(x.offsets) - 1, len(x.index), x.width, joints]
    kernel("gather_motions", x.frames.dtype)(sizes, *where, torch.get_num_threads())
    return out
