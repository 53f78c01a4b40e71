"""``attention_keys`` and its gradient: torch's products of the valid frames alone, one motion after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import empty, ready


def attention_keys(
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    temporal_bias: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Temporal and spatial keys of ``ops.attention_keys``."""
    dtype = parts.dtype
    parts = ready(parts)
    layers = [(ready(w).T, ready(b)) for w, b in ((temporal_weight, temporal_bias), (spatial_weight, spatial_bias))]
    dim, inputs = temporal_weight.shape
    batch, frames, part_count, part_dim = parts.shape
    temporal, spatial = (empty((batch, frames, part_count * part_dim // inputs, dim), parts) for _ in layers)
    for b, length in enumerate(lengths.tolist()):
        x = parts[b, :length].view(-1, inputs)
        for keys, (weight, bias) in zip((temporal[b], spatial[b]), layers, strict=True):
            torch.addmm(bias, x, weight, out=keys[:length].view(-1, dim))
            keys[length:].zero_()
    return temporal.to(dtype), spatial.to(dtype)


def attention_keys_backward(
    grad_temporal: Tensor,
    grad_spatial: Tensor,
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of parts, and of weight and bias of the temporal and of the spatial keys."""
    dtype = parts.dtype
    parts = ready(parts)
    weights, grads = [ready(temporal_weight), ready(spatial_weight)], [ready(grad_temporal), ready(grad_spatial)]
    dim, inputs = temporal_weight.shape
    d_parts, d_weights = empty(parts.shape, parts), [torch.zeros_like(x) for x in weights]
    d_biases = [x.new_zeros(dim) for x in weights]
    for b, length in enumerate(lengths.tolist()):
        x, d_x = parts[b, :length].view(-1, inputs), d_parts[b, :length].view(-1, inputs)
        for i, (grad, weight) in enumerate(zip(grads, weights, strict=True)):
            g = grad[b, :length].view(-1, dim)
            torch.addmm(d_x, g, weight, beta=i, out=d_x)  # the first product overwrites, the second adds
            d_weights[i].addmm_(g.T, x)
            d_biases[i] += g.sum(0)
        d_parts[b, length:].zero_()
    return tuple(x.to(dtype) for x in (d_parts, d_weights[0], d_biases[0], d_weights[1], d_biases[1]))
