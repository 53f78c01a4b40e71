"""The op ``attention_keys``: its contract, registration, gradient and dispatch."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import autocast, check_same_float, check_shape, checked_indices
from m2t_fast.ops.registry import chosen_backend, implementation

NAME = "attention_keys"


def attention_keys(
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    temporal_bias: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Temporal and spatial keys of ``spatio_temporal_attention`` (W_p P of eq. 2 and 5), once a motion.

    Args:
        parts: (B, T, P, H) body-part features.
        lengths: (B,) int64 valid frames, 1 <= length <= T.
        temporal_weight, spatial_weight: (D, H) for a key a part (S = P), (D, P*H) for a key a frame (S = 1), whose
            input is the frame's parts one after the other.
        temporal_bias, spatial_bias: (D,).

    Returns:
        Two tensors (B, T, S, D), 0 beyond a length; differentiable in every float input.

    Raises:
        ValueError: a shape or device does not fit, or a length is out of range. TypeError: a dtype does not fit.
    """
    sizes: dict[str, int] = {}
    check_shape(NAME, "parts", parts, ("B", "T", "P", "H"), sizes)
    check_shape(NAME, "lengths", lengths, ("B",), sizes)
    check_shape(NAME, "temporal_weight", temporal_weight, ("D", "inputs"), sizes)
    check_shape(NAME, "temporal_bias", temporal_bias, ("D",), sizes)
    check_shape(NAME, "spatial_weight", spatial_weight, ("D", "inputs"), sizes)
    check_shape(NAME, "spatial_bias", spatial_bias, ("D",), sizes)
    if sizes["inputs"] not in (sizes["H"], sizes["P"] * sizes["H"]):
        raise ValueError(
            f"{NAME}: temporal_weight has {sizes['inputs']} columns, expected H={sizes['H']} or "
            f"P*H={sizes['P'] * sizes['H']}"
        )
    floats = dict(
        parts=parts,
        temporal_weight=temporal_weight,
        temporal_bias=temporal_bias,
        spatial_weight=spatial_weight,
        spatial_bias=spatial_bias,
    )
    check_same_float(NAME, **dict(zip(floats, autocast(*floats.values()), strict=True)))
    lengths = checked_indices(f"{NAME}: lengths", lengths, 1, sizes["T"])
    return unchecked(parts, lengths, temporal_weight, temporal_bias, spatial_weight, spatial_bias)


def unchecked(
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    temporal_bias: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """:func:`attention_keys` for callers that have checked their arguments."""
    parts, *layers = autocast(parts, temporal_weight, temporal_bias, spatial_weight, spatial_bias)
    return torch.ops.m2t_fast.attention_keys(parts, lengths, *layers, chosen_backend())


@torch.library.custom_op("m2t_fast::attention_keys", mutates_args=())
def _forward(
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    temporal_bias: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor]:
    run = implementation(NAME, backend, parts)
    return run(parts, lengths, temporal_weight, temporal_bias, spatial_weight, spatial_bias)


@_forward.register_fake
def _(parts, lengths, temporal_weight, temporal_bias, spatial_weight, spatial_bias, backend):
    batch, frames, part_count, part_dim = parts.shape
    dim, inputs = temporal_weight.shape
    shape = (batch, frames, part_count * part_dim // inputs, dim)
    return parts.new_empty(shape), parts.new_empty(shape)


@torch.library.custom_op("m2t_fast::attention_keys_backward", mutates_args=())
def _backward(
    grad_temporal: Tensor,
    grad_spatial: Tensor,
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    run = implementation(NAME, backend, parts, "_backward")
    return run(grad_temporal, grad_spatial, parts, lengths, temporal_weight, spatial_weight)


@_backward.register_fake
def _(grad_temporal, grad_spatial, parts, lengths, temporal_weight, spatial_weight, backend):
    dim, inputs = temporal_weight.shape
    shapes = (parts.shape, (dim, inputs), (dim,), (dim, inputs), (dim,))
    return tuple(parts.new_empty(shape) for shape in shapes)


def _setup_context(ctx, inputs, output):
    parts, lengths, temporal_weight, _, spatial_weight, _, backend = inputs
    ctx.save_for_backward(parts, lengths, temporal_weight, spatial_weight)
    ctx.backend = backend


def _autograd_backward(ctx, grad_temporal, grad_spatial):
    grads = torch.ops.m2t_fast.attention_keys_backward(grad_temporal, grad_spatial, *ctx.saved_tensors, ctx.backend)
    d_parts, *d_weights = grads
    return d_parts, None, *d_weights, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
