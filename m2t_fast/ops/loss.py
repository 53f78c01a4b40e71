"""The op ``spatial_loss``: its contract, registration, gradient and dispatch."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import check_shape
from m2t_fast.ops.registry import chosen_backend, implementation

NAME = "spatial_loss"


def spatial_loss(spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Eq. 13: binary cross entropy of alpha with word targets, mean over supervised words, valid frames and parts.

    Args:
        spatial: (B, L, T, P) weights of the body parts, which sum to 1 over the parts of a valid frame.
        target: (B, L, P), any dtype: 1 or 0 for a part that does or does not perform the word, -1 unsupervised.
        lengths: (B,) int64 valid frames; beyond T they count as T.

    Returns:
        A scalar, 0 if no word is supervised; differentiable in ``spatial``. A logarithm is at least -100, as in
        torch's own, with gradient 0 where it is cut off.

    Raises:
        ValueError: a shape does not fit. TypeError: spatial is not floating, or lengths are not int64.
    """
    sizes: dict[str, int] = {}
    check_shape(NAME, "spatial", spatial, ("B", "L", "T", "P"), sizes)
    check_shape(NAME, "target", target, ("B", "L", "P"), sizes)
    check_shape(NAME, "lengths", lengths, ("B",), sizes)
    if not spatial.dtype.is_floating_point:
        raise TypeError(f"{NAME}: spatial has dtype {spatial.dtype}, expected a floating dtype")
    if lengths.dtype != torch.int64:
        raise TypeError(f"{NAME}: lengths has dtype {lengths.dtype}, expected torch.int64")
    return torch.ops.m2t_fast.spatial_loss(spatial, target, lengths, chosen_backend())


@torch.library.custom_op("m2t_fast::spatial_loss", mutates_args=())
def _forward(spatial: Tensor, target: Tensor, lengths: Tensor, backend: str) -> Tensor:
    return implementation(NAME, backend, spatial)(spatial, target, lengths)


@_forward.register_fake
def _(spatial, target, lengths, backend):
    return spatial.new_empty(())


@torch.library.custom_op("m2t_fast::spatial_loss_backward", mutates_args=())
def _backward(grad: Tensor, spatial: Tensor, target: Tensor, lengths: Tensor, backend: str) -> Tensor:
    return implementation(NAME, backend, spatial, "_backward")(grad, spatial, target, lengths)


@_backward.register_fake
def _(grad, spatial, target, lengths, backend):
    return torch.empty_like(spatial, memory_format=torch.contiguous_format)


def _setup_context(ctx, inputs, output):
    *tensors, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _autograd_backward(ctx, grad):
    return torch.ops.m2t_fast.spatial_loss_backward(grad, *ctx.saved_tensors, ctx.backend), None, None, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
