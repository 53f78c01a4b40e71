"""Launches ``spatio_temporal_attention`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import SIGMA_MIN
from m2t_fast.ops.cpu.launch import address, addresses, empty, how, kernel, ready
from m2t_fast.records import converted, float_fields, new
from m2t_fast.reference.attention import AttentionInputs, AttentionOutput


def spatio_temporal_attention_keeps(x: AttentionInputs) -> bool:
    """gamma (B, L, T, S) must be as precise as the arithmetic to be of use to the gradient."""
    return x.parts.dtype in (torch.float32, torch.float64)


def spatio_temporal_attention(x: AttentionInputs, keep: bool = False) -> Any:
    """The outputs of ``ops.spatio_temporal_attention``; with ``keep`` and them a tuple of gamma."""
    dtype, x = x.parts.dtype, _ready(x)
    outputs: AttentionOutput = new(AttentionOutput, x, lambda shape: empty(shape, x.parts))
    shape = (*outputs.window.shape, x.temporal_keys.shape[2])
    gamma = empty(shape, x.parts) if keep else None
    kernel("attention_forward", dtype)(outputs=addresses((*outputs, gamma)), **_arguments(x))
    outputs = AttentionOutput(*(value.to(dtype) for value in outputs))
    return (outputs, (gamma,)) if keep else outputs


def spatio_temporal_attention_backward(grads: AttentionOutput, x: AttentionInputs, kept: Any) -> dict[str, Tensor]:
    """Gradients of the eight float inputs, from those of the outputs (None: the output was not used).

    What was ``kept``, ``spatial`` and ``gamma``, saves computing the scores again.
    """
    dtype, x = x.parts.dtype, _ready(x)
    ready_grads = [grad if grad is None else ready(grad) for grad in grads]
    outputs = {name: empty(value.shape, value) for name, value in x._asdict().items() if name in _FLOATS}
    kernel("attention_backward", dtype)(
        kept=addresses((kept.spatial, kept.gamma)),
        grads=addresses(ready_grads),
        outputs=addresses(list(outputs.values())),
        **_arguments(x),
    )
    return {name: value.to(dtype) for name, value in outputs.items()}


_FLOATS = float_fields(AttentionInputs)


def _ready(x: AttentionInputs) -> AttentionInputs:
    made: AttentionInputs = converted(x, ready)
    return made


def _arguments(x: AttentionInputs) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    batch, frames, part_count, part_dim = x.parts.shape
    slots, attention_dim = x.temporal_keys.shape[2:]
    return dict(
        sizes=[batch, frames, x.temporal_query.shape[1], part_count, slots, part_dim, attention_dim],
        inputs=addresses([getattr(x, name) for name in _FLOATS]),
        lengths=address(x.lengths),
        scale=x.scale,
        sigma_min=SIGMA_MIN,
        **how(),
    )
