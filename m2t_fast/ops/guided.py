"""The op ``guided_attention``: attention for a guided training step, which reads context and spatial loss alone."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import autocast, check_shape, wide
from m2t_fast.ops.registry import chosen_backend, implementation, resolve
from m2t_fast.reference.loss import spatial_terms, spatial_terms_gradient

NAME = "guided_attention"


def is_fused(parts: Tensor) -> bool:
    """Whether the backend in use has a kernel for this op; elsewhere it is the attention followed by the loss."""
    return fused(NAME, parts, chosen_backend())


def fused(op: str, tensor: Tensor, backend: str) -> bool:
    """Whether the backend has a kernel for a guided ``op`` on such tensors."""
    return tensor.dtype != torch.float64 and resolve(op, backend, tensor.device.type) != "reference"


def guided_attention(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    spatial_target: Tensor,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Context and spatial loss (eq. 2-6, 8 and 13) without the weights of the frames and parts, on checked arguments.

    Args:
        spatial_target: (B, L, P): 1 or 0 a part, -1 unsupervised; no gradient. The others, with the shapes and ranges
            that ``spatio_temporal_attention`` checks, as there.

    Returns:
        context (B, L, H), and (B, L) float32 (of float64 inputs float64): the sum of every word's binary cross
        entropies over valid frames and supervised parts. Differentiable in every float input. Under
        ``torch.autocast`` the context is in its dtype.

    Raises:
        ValueError: spatial_target has another shape.
    """
    batch, words, _ = temporal_query.shape
    check_shape(NAME, "spatial_target", spatial_target, (batch, words, parts.shape[2]), {})
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
    return torch.ops.m2t_fast.guided_attention(*tensors, lengths, spatial_target, scale, chosen_backend())


@torch.library.custom_op("m2t_fast::guided_attention", mutates_args=())
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
    spatial_target: Tensor,
    scale: float,
    backend: str,
) -> tuple[Tensor, Tensor]:
    inputs = (
        parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight,
        spatial_bias,
    )  # fmt: skip
    if fused(NAME, parts, backend):
        return implementation(NAME, backend, parts)(*inputs, lengths, spatial_target, scale)
    run = implementation("spatio_temporal_attention", backend, parts)
    context, _, spatial, _, _ = run(*inputs, lengths, scale)
    return context, spatial_terms(wide(spatial), spatial_target, lengths).sum(dim=(2, 3))


@_forward.register_fake
def _(
    parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight, spatial_bias,
    lengths, spatial_target, scale, backend,
):  # fmt: skip
    batch, words, _ = temporal_query.shape
    return parts.new_empty(batch, words, parts.shape[3]), wide(parts.new_empty(batch, words))


@torch.library.custom_op("m2t_fast::guided_attention_backward", mutates_args=())
def _backward(
    grad_context: Tensor | None,
    grad_loss: Tensor | None,
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    spatial_target: Tensor,
    scale: float,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    inputs = (
        parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight,
        spatial_bias,
    )  # fmt: skip
    if fused(NAME, parts, backend):
        run = implementation(NAME, backend, parts, "_backward")
        return run((grad_context, grad_loss), *inputs, lengths, spatial_target, scale)
    # 1 / alpha meets alpha again in the softmax's gradient: a short format would have rounded it in between.
    exact = [wide(x) for x in inputs]
    run = implementation("spatio_temporal_attention", backend, exact[0])
    _, _, spatial, mean, std = run(*exact, lengths, scale)
    grad_spatial = None
    if grad_loss is not None:
        grad_spatial = spatial_terms_gradient(spatial, spatial_target, lengths) * grad_loss[:, :, None, None]
    grads = (None if grad_context is None else wide(grad_context), None, grad_spatial, None, None)
    run = implementation("spatio_temporal_attention", backend, exact[0], "_backward")
    return tuple(x.to(parts.dtype) for x in run(grads, *exact, lengths, mean, std, scale))


@_backward.register_fake
def _(grad_context, grad_loss, *rest):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in rest[:8])


def _setup_context(ctx, inputs, output):
    *tensors, scale, backend = inputs
    ctx.save_for_backward(*tensors)
    ctx.scale, ctx.backend = scale, backend
    ctx.set_materialize_grads(False)


def _autograd_backward(ctx, *grads):
    saved = ctx.saved_tensors
    result = torch.ops.m2t_fast.guided_attention_backward(*grads, *saved, ctx.scale, ctx.backend)
    return *result, None, None, None, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
