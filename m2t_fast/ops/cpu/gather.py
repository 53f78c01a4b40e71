"""Launches ``gather_motions``."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import empty, run
from m2t_fast.records import converted
from m2t_fast.reference.gather import GatherInputs


def gather_motions_takes(x: GatherInputs) -> str | None:
    """Widening the whole store would cost more than the kernel gains."""
    if x.frames.dtype in (torch.float32, torch.float64):
        return None
    return f"{x.frames.dtype} would have to be widened"


def gather_motions(x: GatherInputs) -> Tensor:
    """The padded batch of ``ops.gather_motions``."""
    x = converted(x, torch.Tensor.contiguous)
    rows, joints = x.frames.shape[:2]
    out = empty((len(x.index), x.width, joints, 3), x.frames)
    sizes = dict(rows=rows, motions=len(x.offsets) - 1, batch=len(x.index), frames=x.width, joints=joints)
    run("gather_motions", x.frames.dtype, sizes=sizes, inputs=x, outputs=dict(motion=out))
    return out
