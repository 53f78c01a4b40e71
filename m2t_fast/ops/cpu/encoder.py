"""Launches ``part_encoder`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import address, addresses, empty, how, kernel, ready
from m2t_fast.records import converted
from m2t_fast.reference.encoder import EncoderInputs


def part_encoder(x: EncoderInputs) -> Tensor:
    """Body-part features of ``ops.part_encoder``."""
    dtype, x = x.motion.dtype, converted(x, ready)
    parts = empty((*x.motion.shape[:2], len(x.parts), 2 * x.bias2.shape[2]), x.motion)
    kernel("encoder_forward", dtype)(parts=address(parts), **_arguments(x))
    return parts.to(dtype)


def part_encoder_backward(grad: Tensor, x: EncoderInputs, saved: Any, need_motion: bool) -> dict[str, Tensor]:
    """Gradients of the motion, if it is asked for, and of the four weight tensors."""
    dtype, x = x.motion.dtype, converted(x, ready)
    given = [ready(v) for v in (grad, saved.parts, x.weight1.transpose(1, 2), x.weight2.transpose(2, 3))]
    names = ("weight1", "bias1", "weight2", "bias2")
    found = {name: torch.empty_like(getattr(x, name)) for name in names}
    d_motion = torch.empty_like(x.motion) if need_motion else None
    kernel("encoder_backward", dtype)(
        saved=addresses(given),
        outputs=addresses(list(found.values())),
        d_motion=addresses([d_motion])[0],
        **_arguments(x),
    )
    if d_motion is not None:
        found["motion"] = d_motion
    return {name: value.to(dtype) for name, value in found.items()}


def _arguments(x: EncoderInputs) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    batch, frames, joints = x.motion.shape[:3]
    _, part_count, hidden, half = x.weight2.shape
    return dict(
        sizes=[batch, frames, joints, part_count, hidden, half, int(x.relative)],
        part_joints=[joint for part in x.parts for joint in part],
        part_sizes=[len(part) for part in x.parts],
        inputs=addresses([x.motion, x.weight1, x.bias1, x.weight2, x.bias2]),
        lengths=address(x.lengths),
        **how(),
    )
