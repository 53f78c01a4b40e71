"""Launches ``part_encoder`` and its gradient."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import empty, ready, run
from m2t_fast.ops.cpu.linear import arithmetic, as_computed
from m2t_fast.records import converted
from m2t_fast.reference.encoder import EncoderInputs


def part_encoder(x: EncoderInputs) -> Tensor:
    """Body-part features of ``ops.part_encoder``."""
    dtype, x = x.motion.dtype, _as_computed(x)
    parts = empty((*x.motion.shape[:2], len(x.parts), 2 * x.bias2.shape[2]), x.weight1)
    run("encoder_forward", parts.dtype, outputs=dict(parts=parts), **_arguments(x))
    return parts.to(dtype)


def part_encoder_backward(grad: Tensor, x: EncoderInputs, saved: Any, need_motion: bool) -> dict[str, Tensor]:
    """Gradients of the motion, if it is asked for, and of the four weight tensors."""
    dtype, x = x.motion.dtype, _as_computed(x)
    found = {name: torch.empty_like(getattr(x, name), dtype=x.motion.dtype) for name in _WEIGHTS}
    if need_motion:
        found["motion"] = torch.empty_like(x.motion)
    computed = x.weight1.dtype
    grads = dict(grad=as_computed(grad, computed), parts=as_computed(saved.parts, computed))
    run("encoder_backward", computed, grads={"motion": None, **found, **grads}, **_arguments(x))
    return {name: value.to(dtype) for name, value in found.items()}


_WEIGHTS = ("weight1", "bias1", "weight2", "bias2")


def _as_computed(x: EncoderInputs) -> EncoderInputs:
    """Weights in the dtype of the products, the motion in that of their sums."""
    hidden, half = x.weight2.shape[2:]
    dtype = arithmetic(x.motion.dtype, [hidden, half])
    weights: dict[str, Any] = {name: as_computed(getattr(x, name), dtype) for name in _WEIGHTS}
    made: EncoderInputs = converted(x, ready)
    return made._replace(**weights)


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
