"""Launches ``part_encoder`` and its gradient."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import empty, ready, run
from m2t_fast.records import converted
from m2t_fast.reference.encoder import EncoderInputs


def part_encoder(x: EncoderInputs) -> Tensor:
    """Body-part features of ``ops.part_encoder``."""
    dtype, x = x.motion.dtype, converted(x, ready)
    parts = empty((*x.motion.shape[:2], len(x.parts), 2 * x.bias2.shape[2]), x.motion)
    run("encoder_forward", parts.dtype, outputs=dict(parts=parts), **_arguments(x))
    return parts.to(dtype)


def part_encoder_backward(grad: Tensor, x: EncoderInputs, saved: Any, need_motion: bool) -> dict[str, Tensor]:
    """Gradients of the motion, if it is asked for, and of the four weight tensors."""
    dtype, x = x.motion.dtype, converted(x, ready)
    found = {name: torch.empty_like(getattr(x, name)) for name in ("weight1", "bias1", "weight2", "bias2")}
    if need_motion:
        found["motion"] = torch.empty_like(x.motion)
    grads = dict(
        grad=ready(grad),
        parts=ready(saved.parts),
        weight1_t=ready(x.weight1.transpose(1, 2)),
        weight2_t=ready(x.weight2.transpose(2, 3)),
    )
    run("encoder_backward", x.motion.dtype, grads={"motion": None, **found, **grads}, **_arguments(x))
    return {name: value.to(dtype) for name, value in found.items()}


def _arguments(x: EncoderInputs) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    batch, frames, joints = x.motion.shape[:3]
    _, parts, hidden, half = x.weight2.shape
    part_joints, part_sizes = _joints(x.parts)
    sizes = dict(
        batch=batch,
        frames=frames,
        joints=joints,
        parts=parts,
        hidden=hidden,
        half=half,
        part_joints=part_joints,
        part_sizes=part_sizes,
        rows=3 * len(part_joints),
        relative=x.relative,
    )
    return dict(sizes=sizes, inputs=x)


@functools.lru_cache(maxsize=64)
def _joints(parts: tuple[tuple[int, ...], ...]) -> tuple[Tensor, Tensor]:
    """All parts' joints, one part after the other, and how many each has."""
    lists = [joint for part in parts for joint in part], [len(part) for part in parts]
    joints, sizes = (torch.tensor(numbers, dtype=torch.int64, device="cpu") for numbers in lists)
    return joints, sizes
