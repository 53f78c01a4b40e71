"""What every backend of ``additive_attention`` does around its scores: softmax, values, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.reference.additive_attention import AdditiveInputs, AdditiveOutput
from m2t_fast.reference.encoder import valid_frames


def attend(x: AdditiveInputs, scores: Tensor, rest: Tensor | None) -> AdditiveOutput:
    """From scores (B, L, T) in float32, unwritten in the padding, and what is to be added to them."""
    mask = valid_frames(x.lengths, x.keys.shape[1])
    scores = torch.where(mask[:, None], scores, -torch.inf)
    scores = scores - scores.amax(dim=-1, keepdim=True)
    if rest is not None:
        scores = scores + torch.where(mask[:, None], rest, 0)
    return mixed(x, torch.softmax(scores, dim=-1).to(x.values.dtype))


def mixed(x: AdditiveInputs, weights: Tensor) -> AdditiveOutput:
    """The outputs from the weights (B, L, T) of the keys."""
    return AdditiveOutput(weights @ _valid(x.values, valid_frames(x.lengths, x.keys.shape[1])), weights)


def scores_gradient(grads: AdditiveOutput, x: AdditiveInputs, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the scores (B, L, T), float32 or wider, and of the values, from the outputs' (None: not used)."""
    wide = torch.promote_types(weights.dtype, torch.float32)
    d_weights, d_values = torch.zeros_like(weights, dtype=wide), torch.zeros_like(x.values)
    if grads.weights is not None:
        d_weights += grads.weights
    if grads.context is not None:
        d_weights += grads.context @ _valid(x.values, valid_frames(x.lengths, x.keys.shape[1])).mT
        d_values = weights.mT @ grads.context
    weights = weights.to(wide)
    return weights * (d_weights - (weights * d_weights).sum(dim=-1, keepdim=True)), d_values


def _valid(values: Tensor, mask: Tensor) -> Tensor:
    """The values, 0 in the padding, which may hold anything."""
    return torch.where(mask[..., None], values, 0)
