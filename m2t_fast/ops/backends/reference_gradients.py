"""Gradients of the backend ``reference`` for the small ops: keys and spatial loss, written out."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.reference.encoder import valid_frames
from m2t_fast.reference.loss import spatial_terms_count, spatial_terms_gradient


def attention_keys_backward(
    grad_temporal: Tensor,
    grad_spatial: Tensor,
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of parts, and of weight and bias of the temporal and of the spatial keys."""
    mask = valid_frames(lengths, parts.shape[1])[:, :, None, None]
    inputs = temporal_weight.shape[1]
    per_key = torch.where(mask, parts, 0).reshape(-1, inputs)
    d_parts = torch.zeros_like(per_key)
    d_weights = []
    for grad, weight in ((grad_temporal, temporal_weight), (grad_spatial, spatial_weight)):
        d_keys = torch.where(mask, grad, 0).flatten(0, 2)
        d_parts += d_keys @ weight
        d_weights += [d_keys.T @ per_key, d_keys.sum(0)]
    return d_parts.view_as(parts), *d_weights


def spatial_loss_backward(grad: Tensor, spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Gradient (B, L, T, P) of ``spatial``."""
    count = spatial_terms_count(target, lengths.clamp(max=spatial.shape[2]))
    return grad / count.clamp(min=1) * spatial_terms_gradient(spatial, target, lengths)
