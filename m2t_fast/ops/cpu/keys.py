"""``attention_keys`` and its gradient: the products of the valid frames of all motions at once."""

from __future__ import annotations

from torch import Tensor

from m2t_fast.ops.cpu.linear import Rows, arithmetic, as_computed, input_gradient, linear, weight_gradients
from m2t_fast.records import converted
from m2t_fast.reference.attention import KeysInputs, KeysOutput


def attention_keys(x: KeysInputs) -> KeysOutput:
    """Temporal and spatial keys of ``ops.attention_keys``."""
    dim, inputs = x.temporal_weight.shape
    dtype, rows, x = x.parts.dtype, _rows(x), _as_computed(x, inputs)
    layers = [(x.temporal_weight, x.temporal_bias), (x.spatial_weight, x.spatial_bias)]
    keys = linear(x.parts.view(-1, inputs), layers, rows)
    return KeysOutput(*(k.view(rows.batch, rows.frames, rows.per_frame, dim).to(dtype) for k in keys))


def attention_keys_backward(grads: KeysOutput, x: KeysInputs) -> dict[str, Tensor]:
    """Gradients of parts, and of weight and bias of the temporal and of the spatial keys (None: not used)."""
    dim, inputs = x.temporal_weight.shape
    dtype, rows, x = x.parts.dtype, _rows(x), _as_computed(x, dim)
    shape = rows.batch, rows.frames, rows.per_frame, dim
    given = (x.parts.new_zeros(shape) if grad is None else as_computed(grad, x.parts.dtype) for grad in grads)
    temporal, spatial = (grad.view(-1, dim) for grad in given)
    read = x.parts.view(-1, inputs)
    d_temporal, d_spatial = weight_gradients([(temporal, read), (spatial, read)], rows)
    found = dict(
        parts=input_gradient([temporal, spatial], [x.temporal_weight, x.spatial_weight], rows).view(x.parts.shape),
        **dict(zip(("temporal_weight", "temporal_bias"), d_temporal, strict=True)),
        **dict(zip(("spatial_weight", "spatial_bias"), d_spatial, strict=True)),
    )
    return {name: value.to(dtype) for name, value in found.items()}


def _as_computed(x: KeysInputs, terms: int) -> KeysInputs:
    """The inputs in the dtype of the products, which depends on the number of terms that they sum."""
    computed = arithmetic(x.parts.dtype, [terms])
    made: KeysInputs = converted(x, lambda v: as_computed(v, computed) if v.is_floating_point() else v)
    return made


def _rows(x: KeysInputs) -> Rows:
    """A row for each part of a frame, or, where a key reads all parts, for each frame."""
    batch, frames, part_count, part_dim = x.parts.shape
    return Rows(batch, frames, part_count * part_dim // x.temporal_weight.shape[1], x.lengths.contiguous())
