"""The op ``part_encoder``: its contract, registration, gradient and dispatch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m2t_fast.ops.checks import autocast, check_same_float, check_shape, checked_indices
from m2t_fast.ops.registry import chosen_backend, implementation

NAME = "part_encoder"


def part_encoder(
    motion: Tensor,
    lengths: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    parts: Sequence[Sequence[int]],
    relative: bool = False,
) -> Tensor:
    """Body-part features P_ik: positions and velocities through two tanh layers each (section 3.1, "Encoder").

    Args:
        motion: (B, T, J, 3) absolute, standardised positions. lengths: (B,) int64, 1 <= length <= T.
        weight1: (2, 3N, D), bias1: (2, P, D): first layers of all parts, N the sum of the parts' joint counts.
        weight2: (2, P, D, H/2), bias2: (2, P, H/2): second layers. Stream 0: positions, 1: velocities.
        parts: joint indices of each of the P parts.
        relative: every joint of ``motion`` but the root is relative to the root already, as of
            :func:`~m2t_fast.ops.gather_motions`.

    Returns:
        (B, T, P, H), 0 beyond a motion's length. Differentiable in every float input. Under ``torch.autocast`` in its
        dtype, whatever the inputs' are.

    Raises:
        ValueError: a shape, device, joint or length does not fit. TypeError: a dtype does not fit.
    """
    part_joints = [joint for part in parts for joint in part]
    sizes = {"P": len(parts)}
    check_shape(NAME, "motion", motion, ("B", "T", "J", 3), sizes)
    check_shape(NAME, "lengths", lengths, ("B",), sizes)
    check_shape(NAME, "weight1", weight1, (2, 3 * len(part_joints), "D"), sizes)
    check_shape(NAME, "bias1", bias1, (2, "P", "D"), sizes)
    check_shape(NAME, "weight2", weight2, (2, "P", "D", "H/2"), sizes)
    check_shape(NAME, "bias2", bias2, (2, "P", "H/2"), sizes)
    motion, weight1, bias1, weight2, bias2 = autocast(motion, weight1, bias1, weight2, bias2)
    check_same_float(NAME, motion=motion, weight1=weight1, bias1=bias1, weight2=weight2, bias2=bias2)
    for joint in part_joints:
        if not 0 <= joint < sizes["J"]:
            raise ValueError(f"{NAME}: parts names joint {joint}, expected 0 to {sizes['J'] - 1}")
    lengths = checked_indices(f"{NAME}: lengths", lengths, 1, sizes["T"])
    part_sizes = [len(part) for part in parts]
    return unchecked(motion, lengths, weight1, bias1, weight2, bias2, part_joints, part_sizes, relative)


def unchecked(
    motion: Tensor,
    lengths: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    part_joints: Sequence[int],
    part_sizes: Sequence[int],
    relative: bool = False,
) -> Tensor:
    """:func:`part_encoder` for callers that have checked their arguments; the parts' joints in one list."""
    motion, weight1, bias1, weight2, bias2 = autocast(motion, weight1, bias1, weight2, bias2)
    return torch.ops.m2t_fast.part_encoder(
        motion, lengths, weight1, bias1, weight2, bias2, part_joints, part_sizes, relative, chosen_backend()
    )


@torch.library.custom_op("m2t_fast::part_encoder", mutates_args=())
def _forward(
    motion: Tensor,
    lengths: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    part_joints: Sequence[int],
    part_sizes: Sequence[int],
    relative: bool,
    backend: str,
) -> Tensor:
    run = implementation(NAME, backend, motion)
    return run(motion, lengths, weight1, bias1, weight2, bias2, part_joints, part_sizes, relative)


@_forward.register_fake
def _(motion, lengths, weight1, bias1, weight2, bias2, part_joints, part_sizes, relative, backend):
    batch, frames = motion.shape[:2]
    return motion.new_empty(batch, frames, bias2.shape[1], 2 * bias2.shape[2])


@torch.library.custom_op("m2t_fast::part_encoder_backward", mutates_args=())
def _backward(
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
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    run = implementation(NAME, backend, motion, "_backward")
    weights = (weight1, bias1, weight2, bias2)
    return run(grad_parts, motion, lengths, *weights, parts, part_joints, part_sizes, relative, need_motion)


@_backward.register_fake
def _(
    grad_parts, motion, lengths, weight1, bias1, weight2, bias2, parts, part_joints, part_sizes, relative, need_motion,
    backend,
):  # fmt: skip
    grad_motion = motion.new_empty(motion.shape if need_motion else 0)
    weights = (weight1, bias1, weight2, bias2)
    return grad_motion, *(torch.empty_like(x, memory_format=torch.contiguous_format) for x in weights)


def _setup_context(ctx, inputs, output):
    motion, lengths, weight1, bias1, weight2, bias2, part_joints, part_sizes, relative, backend = inputs
    ctx.save_for_backward(motion, lengths, weight1, bias1, weight2, bias2, output)
    ctx.choices, ctx.backend = (part_joints, part_sizes, relative), backend


def _autograd_backward(ctx, grad_parts):
    need_motion = ctx.needs_input_grad[0]  # training never asks for it, and it costs a third of the gradient
    grad_motion, *grad_weights = torch.ops.m2t_fast.part_encoder_backward(
        grad_parts, *ctx.saved_tensors, *ctx.choices, need_motion, ctx.backend
    )
    weight1, bias1, weight2, bias2 = grad_weights
    return grad_motion if need_motion else None, None, weight1, bias1, weight2, bias2, None, None, None, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
