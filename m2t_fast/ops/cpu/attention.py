"""Launches ``spatio_temporal_attention`` and its gradient."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from m2t_fast.config import SIGMA_MIN
from m2t_fast.ops.cpu.launch import addresses, empty, how, kernel, ready


def spatio_temporal_attention(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    scale: float,
    keep: bool = False,
) -> tuple[Tensor, ...]:
    """Context, window, spatial, mean and std of ``ops.spatio_temporal_attention``; with ``keep`` gamma (B, L, T, S)."""
    inputs = [
        ready(x)
        for x in (
            parts,
            temporal_keys,
            spatial_keys,
            temporal_query,
            spatial_query,
            temporal_weight,
            spatial_weight,
            spatial_bias,
        )
    ]
    lengths = lengths.contiguous()
    batch, frames, part_count, part_dim = parts.shape
    words = temporal_query.shape[1]
    shapes = (
        (batch, words, part_dim),
        (batch, words, frames),
        (batch, words, frames, part_count),
        (batch, words),
        (batch, words),
    )
    outputs = [empty(shape, inputs[0]) for shape in shapes]
    gamma = empty((batch, words, frames, temporal_keys.shape[2]), inputs[0]) if keep else None
    kernel("attention_forward", parts.dtype)(
        outputs=addresses((*outputs, gamma)), **_attention_arguments(inputs, lengths, scale)
    )
    outputs = [x.to(parts.dtype) for x in outputs]
    return tuple(outputs) if gamma is None else (*outputs, gamma)


def spatio_temporal_attention_backward(
    grads: tuple[Tensor | None, ...],
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    mean: Tensor,
    std: Tensor,
    scale: float,
    spatial: Tensor | None = None,
    gamma: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Gradients of the eight float inputs, from the gradients of the five outputs (None: the output was not used).

    ``spatial`` and ``gamma``, if kept, save computing the scores again. ``mean`` and ``std`` are not read: the kernel
    takes them from gamma in double, because in float32 those of a long motion are not precise enough.
    """
    inputs = [
        ready(x)
        for x in (
            parts,
            temporal_keys,
            spatial_keys,
            temporal_query,
            spatial_query,
            temporal_weight,
            spatial_weight,
            spatial_bias,
        )
    ]
    lengths = lengths.contiguous()
    ready_grads = [x if x is None else ready(x) for x in grads]
    outputs = [empty(x.shape, x) for x in inputs]
    kernel("attention_backward", parts.dtype)(
        kept=addresses((spatial, gamma)),
        grads=addresses(ready_grads),
        outputs=addresses(outputs),
        **_attention_arguments(inputs, lengths, scale),
    )
    return tuple(x.to(parts.dtype) for x in outputs)


def _attention_arguments(inputs: list[Tensor], lengths: Tensor, scale: float) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    parts, temporal_keys, _, temporal_query, *_ = inputs
    batch, frames, part_count, part_dim = parts.shape
    slots, attention_dim = temporal_keys.shape[2:]
    return dict(
        sizes=[batch, frames, temporal_query.shape[1], part_count, slots, part_dim, attention_dim],
        inputs=addresses(inputs),
        lengths=lengths.data_ptr(),
        scale=scale,
        sigma_min=SIGMA_MIN,
        **how(),
    )
