"""Launches ``part_encoder`` and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import addresses, empty, how, kernel, ready


def part_encoder(
    motion: Tensor,
    lengths: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    part_joints: Sequence[int],
    part_sizes: Sequence[int],
    relative: bool,
) -> Tensor:
    """Body-part features of ``ops.part_encoder``."""
    inputs, lengths = [ready(x) for x in (motion, weight1, bias1, weight2, bias2)], lengths.contiguous()
    batch, frames = motion.shape[:2]
    parts = empty((batch, frames, len(part_sizes), 2 * bias2.shape[2]), inputs[0])
    kernel("encoder_forward", motion.dtype)(
        parts=parts.data_ptr(), **_encoder_arguments(inputs, lengths, part_joints, part_sizes, relative)
    )
    return parts.to(motion.dtype)


def part_encoder_backward(
    grad_parts: Tensor,
    motion: Tensor,
    lengths: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    parts: Tensor,
    part_joints: Sequence[int],
    part_sizes: Sequence[int],
    relative: bool,
    need_motion: bool,
) -> tuple[Tensor, ...]:
    """Gradients of the motion (an empty tensor unless asked for) and of the four weight tensors."""
    inputs, lengths = [ready(x) for x in (motion, weight1, bias1, weight2, bias2)], lengths.contiguous()
    saved = [ready(x) for x in (grad_parts, parts, inputs[1].transpose(1, 2), inputs[3].transpose(2, 3))]
    outputs = [torch.empty_like(x) for x in inputs[1:]]
    d_motion = torch.empty_like(inputs[0]) if need_motion else inputs[0].new_empty(0)
    kernel("encoder_backward", motion.dtype)(
        saved=addresses(saved),
        outputs=addresses(outputs),
        d_motion=d_motion.data_ptr() if need_motion else 0,
        **_encoder_arguments(inputs, lengths, part_joints, part_sizes, relative),
    )
    return tuple(x.to(motion.dtype) for x in (d_motion, *outputs))


def _encoder_arguments(
    inputs: list[Tensor], lengths: Tensor, part_joints: Sequence[int], part_sizes: Sequence[int], relative: bool
) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    batch, frames, joints = inputs[0].shape[:3]
    _, part_count, hidden, half = inputs[3].shape
    return dict(
        sizes=[batch, frames, joints, part_count, hidden, half, int(relative)],
        part_joints=list(part_joints),
        part_sizes=list(part_sizes),
        inputs=addresses(inputs),
        lengths=lengths.data_ptr(),
        **how(),
    )
