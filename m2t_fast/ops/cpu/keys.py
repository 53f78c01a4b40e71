"""``attention_keys`` and its gradient: the products of the valid frames of all motions at once."""

from __future__ import annotations

from torch import Tensor

from m2t_fast.ops.cpu.linear import Rows, arithmetic, as_computed, input_gradient, linear, weight_gradients


def attention_keys(
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    temporal_bias: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Temporal and spatial keys of ``ops.attention_keys``."""
    dim, inputs = temporal_weight.shape
    computed = arithmetic(parts.dtype, [inputs])
    rows = _rows(parts, lengths, inputs)
    x, *layers = (
        as_computed(x, computed) for x in (parts, temporal_weight, temporal_bias, spatial_weight, spatial_bias)
    )
    keys = linear(x.view(-1, inputs), [(layers[0], layers[1]), (layers[2], layers[3])], rows)
    temporal, spatial = (x.view(rows.batch, rows.frames, rows.per_frame, dim).to(parts.dtype) for x in keys)
    return temporal, spatial


def attention_keys_backward(
    grad_temporal: Tensor,
    grad_spatial: Tensor,
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of parts, and of weight and bias of the temporal and of the spatial keys."""
    dim, inputs = temporal_weight.shape
    computed = arithmetic(parts.dtype, [dim])
    rows = _rows(parts, lengths, inputs)
    x = as_computed(parts, computed).view(-1, inputs)
    grads = [as_computed(grad, computed).view(-1, dim) for grad in (grad_temporal, grad_spatial)]
    weights = [as_computed(weight, computed) for weight in (temporal_weight, spatial_weight)]
    d_parts = input_gradient(grads, weights, rows).view(parts.shape)
    d_temporal, d_spatial = weight_gradients([(grad, x) for grad in grads], rows)
    return tuple(x.to(parts.dtype) for x in (d_parts, *d_temporal, *d_spatial))


def _rows(parts: Tensor, lengths: Tensor, inputs: int) -> Rows:
    """A row for each part of a frame, or, where a key reads all parts, for each frame."""
    batch, frames, part_count, part_dim = parts.shape
    return Rows(batch, frames, part_count * part_dim // inputs, lengths.contiguous())
