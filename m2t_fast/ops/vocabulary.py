"""The op ``vocabulary_loss``: logits of the vocabulary layer and their cross entropy, without keeping the logits.

Backend ``cpu`` alone has it; elsewhere torch fuses the two itself, or they are a layer and a loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import autocast_dtype, wide
from m2t_fast.ops.cpu import vocabulary
from m2t_fast.ops.registration import assume_constant_result, register
from m2t_fast.ops.registry import chosen_backend, why_unavailable


def takes(features: Tensor) -> bool:
    """Whether the backend in use has a kernel for this op on such tensors."""
    return _has_kernel(chosen_backend(), features.device.type)


@assume_constant_result
def _has_kernel(backend: str, device_type: str) -> bool:
    """Asked while compiling, not compiled: the answer is the backend's."""
    return device_type == "cpu" and backend in ("auto", "cpu") and why_unavailable("cpu") is None


def vocabulary_loss(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross entropies of the words that are not <pad> (eq. 10 and 11), on checked arguments.

    The gradients are computed with the loss, while the logits exist, and scaled later.

    Args:
        features: (N, M). weight: (V, M). bias: (V,). targets: (N,) int64 words.

    Returns:
        Scalar, float32 (of float64 inputs float64), differentiable in the first three.
    """
    if (dtype := autocast_dtype(features)) is not None and features.dtype != torch.float64:
        features, weight, bias = features.to(dtype), weight.to(dtype), bias.to(dtype)
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in (features, weight, bias))
    loss, _, _, _ = torch.ops.m2t_fast.vocabulary_loss(features, weight, bias, targets, keep)
    return loss


def _forward(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.autocast(features.device.type, enabled=False):
        return vocabulary.vocabulary_loss(features, weight, bias, targets, keep)


def _fake(features, weight, bias, targets, keep):
    gradients = (torch.empty_like(x) if keep else x.new_empty(0) for x in (features, weight, bias))
    return wide(features.new_empty(())), *gradients


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*output[1:])
    ctx.set_materialize_grads(False)


def _autograd_backward(ctx, grad, *_):
    if grad is None:
        return (None,) * 5
    return *((x * grad).to(x.dtype) for x in ctx.saved_tensors), None, None


register("vocabulary_loss", _forward, _fake, _autograd_backward, _setup_context)
