"""The op ``spatio_temporal_attention``: its contract, registration, gradient and dispatch."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import autocast, check_same_float, check_shape, checked_indices
from m2t_fast.ops.registry import chosen_backend, implementation, resolve, supports
from m2t_fast.reference.attention import AttentionOutput

NAME = "spatio_temporal_attention"


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
    scale: float = 1.0,
) -> AttentionOutput:
    """Spatio-temporal Gaussian attention with its context vector (eq. 2-6 and 8).

    Args:
        parts: (B, T, P, H) body-part features.
        temporal_keys, spatial_keys: (B, T, S, D), S = 1 (one key a frame) or S = P (one key a part and frame).
        temporal_query, spatial_query: (B, L, D), one row a word.
        temporal_weight: (D,).
        spatial_weight: (P, D) when S = 1, (1, D) when S = P. spatial_bias: (P,) or (1,); with S = P it cancels in
            the softmax.
        lengths: (B,) int64 valid frames, 1 <= length <= T.
        scale: rho of eq. 8.

    Returns:
        AttentionOutput(context (B, L, H), window (B, L, T), spatial (B, L, T, P), mean (B, L), std (B, L)); mean and
        std in frames. Differentiable in every float input and through every output. Under ``torch.autocast`` in its
        dtype, whatever the inputs' are.

    Raises:
        ValueError: a shape or device does not fit, or a length is out of range. TypeError: a dtype does not fit.
    """
    sizes: dict[str, int] = {}
    check_shape(NAME, "parts", parts, ("B", "T", "P", "H"), sizes)
    check_shape(NAME, "temporal_keys", temporal_keys, ("B", "T", "S", "D"), sizes)
    check_shape(NAME, "spatial_keys", spatial_keys, ("B", "T", "S", "D"), sizes)
    check_shape(NAME, "temporal_query", temporal_query, ("B", "L", "D"), sizes)
    check_shape(NAME, "spatial_query", spatial_query, ("B", "L", "D"), sizes)
    check_shape(NAME, "temporal_weight", temporal_weight, ("D",), sizes)
    if sizes["S"] not in (1, sizes["P"]):
        raise ValueError(f"{NAME}: temporal_keys has S={sizes['S']} keys a frame, expected 1 or P={sizes['P']}")
    rows = sizes["P"] if sizes["S"] == 1 else 1
    check_shape(NAME, "spatial_weight", spatial_weight, (rows, "D"), sizes)
    check_shape(NAME, "spatial_bias", spatial_bias, (rows,), sizes)
    check_shape(NAME, "lengths", lengths, ("B",), sizes)
    tensors = dict(
        parts=parts,
        temporal_keys=temporal_keys,
        spatial_keys=spatial_keys,
        temporal_query=temporal_query,
        spatial_query=spatial_query,
        temporal_weight=temporal_weight,
        spatial_weight=spatial_weight,
        spatial_bias=spatial_bias,
    )
    tensors = dict(zip(tensors, autocast(*tensors.values()), strict=True))
    check_same_float(NAME, **tensors)
    lengths = checked_indices(f"{NAME}: lengths", lengths, 1, sizes["T"])
    return unchecked(**tensors, lengths=lengths, scale=scale)


def unchecked(
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
) -> AttentionOutput:
    """:func:`spatio_temporal_attention` for callers that have checked their arguments, once for many words."""
    tensors = autocast(
        parts,
        temporal_keys,
        spatial_keys,
        temporal_query,
        spatial_query,
        temporal_weight,
        spatial_weight,
        spatial_bias,
    )
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    outputs = torch.ops.m2t_fast.spatio_temporal_attention(*tensors, lengths, scale, keep, chosen_backend())
    return AttentionOutput(*outputs[:5])


def _keeps_gamma(backend: str, parts: Tensor) -> bool:
    """Whether the backend's gradient uses gamma (B, L, T, S); it must be as precise as the arithmetic."""
    return supports(NAME, backend, parts, "KEEPS_GAMMA") and parts.dtype in (torch.float32, torch.float64)


def context_alone(
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
) -> Tensor:
    """The context (B, L, H) of :func:`unchecked`, without gradient: what a step of a search reads.

    A kernel for it may leave out frames whose window is far below the dtype's resolution.
    """
    tensors = autocast(
        parts,
        temporal_keys,
        spatial_keys,
        temporal_query,
        spatial_query,
        temporal_weight,
        spatial_weight,
        spatial_bias,
    )
    with torch.no_grad():
        return torch.ops.m2t_fast.spatio_temporal_context(*tensors, lengths, scale, chosen_backend())


@torch.library.custom_op("m2t_fast::spatio_temporal_context", mutates_args=())
def _context(
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
    backend: str,
) -> Tensor:
    inputs = (
        parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight,
        spatial_bias,
    )  # fmt: skip
    if resolve("spatio_temporal_context", backend, parts.device.type) != "reference":
        return implementation("spatio_temporal_context", backend, parts)(*inputs, lengths, scale)
    return implementation(NAME, backend, parts)(*inputs, lengths, scale)[0]


@_context.register_fake
def _(parts, temporal_keys, spatial_keys, temporal_query, *rest):
    return parts.new_empty(parts.shape[0], temporal_query.shape[1], parts.shape[3])


@torch.library.custom_op("m2t_fast::spatio_temporal_attention", mutates_args=())
def _forward(
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
    keep: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The five outputs and gamma, which is empty unless a gradient will follow and the backend wants it for that."""
    run = implementation(NAME, backend, parts)
    kept = {"keep": True} if keep and _keeps_gamma(backend, parts) else {}
    outputs = run(
        parts,
        temporal_keys,
        spatial_keys,
        temporal_query,
        spatial_query,
        temporal_weight,
        spatial_weight,
        spatial_bias,
        lengths,
        scale,
        **kept,
    )
    return outputs if kept else (*outputs, parts.new_empty(0))


@_forward.register_fake
def _(
    parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight, spatial_bias,
    lengths, scale, keep, backend,
):  # fmt: skip
    batch, frames, part_count, part_dim = parts.shape
    words, slots = temporal_query.shape[1], temporal_keys.shape[2]
    return (
        parts.new_empty(batch, words, part_dim),
        parts.new_empty(batch, words, frames),
        parts.new_empty(batch, words, frames, part_count),
        parts.new_empty(batch, words),
        parts.new_empty(batch, words),
        parts.new_empty((batch, words, frames, slots) if keep and _keeps_gamma(backend, parts) else 0),
    )


@torch.library.custom_op("m2t_fast::spatio_temporal_attention_backward", mutates_args=())
def _backward(
    grad_context: Tensor | None,
    grad_window: Tensor | None,
    grad_spatial: Tensor | None,
    grad_mean: Tensor | None,
    grad_std: Tensor | None,
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
    spatial: Tensor | None,
    gamma: Tensor | None,
    scale: float,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    run = implementation(NAME, backend, parts, "_backward")
    kept = {} if gamma is None else {"spatial": spatial, "gamma": gamma}
    return run(
        (grad_context, grad_window, grad_spatial, grad_mean, grad_std),
        parts,
        temporal_keys,
        spatial_keys,
        temporal_query,
        spatial_query,
        temporal_weight,
        spatial_weight,
        spatial_bias,
        lengths,
        mean,
        std,
        scale,
        **kept,
    )


@_backward.register_fake
def _(
    grad_context, grad_window, grad_spatial, grad_mean, grad_std, parts, temporal_keys, spatial_keys, temporal_query,
    spatial_query, temporal_weight, spatial_weight, spatial_bias, lengths, mean, std, spatial, gamma, scale, backend,
):  # fmt: skip
    inputs = (
        parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight,
        spatial_bias,
    )  # fmt: skip
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in inputs)


def _setup_context(ctx, inputs, output):
    *tensors, lengths, scale, _, backend = inputs
    _, _, spatial, mean, std, gamma = output
    # An empty gamma was not kept: nor need spatial be.
    ctx.save_for_backward(*tensors, lengths, mean, std, *((spatial, gamma) if gamma.dim() > 1 else (None, None)))
    ctx.scale, ctx.backend = scale, backend
    ctx.set_materialize_grads(False)  # an output nobody used costs its gradient nothing


def _autograd_backward(ctx, *grads):
    saved = ctx.saved_tensors
    result = torch.ops.m2t_fast.spatio_temporal_attention_backward(*grads[:5], *saved, ctx.scale, ctx.backend)
    return *result, None, None, None, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
