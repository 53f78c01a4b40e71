"""``additive_attention`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.ops.attend import scores_gradient
from m2t_fast.ops.reference import in_float32
from m2t_fast.reference.additive_attention import AdditiveInputs, AdditiveOutput
from m2t_fast.reference.encoder import valid_frames


def additive_attention(x: AdditiveInputs) -> AdditiveOutput:
    """``reference.additive_attention``."""
    return reference.additive_attention(*x)


@in_float32
def additive_attention_backward(grads: AdditiveOutput, x: AdditiveInputs, kept: Any) -> dict[str, Tensor]:
    """Gradients of the four float inputs, from those of the outputs (None: the output was not used)."""
    mask = valid_frames(x.lengths, x.keys.shape[1])
    d_scores, d_values = scores_gradient(grads, x, kept.weights)
    keys = torch.where(mask[..., None], x.keys, 0)
    tanh = torch.tanh(keys[:, None] + x.query[:, :, None])  # (B, L, T, D)
    d_sum = d_scores[..., None] * x.weight * (1 - tanh.square())
    d_weight = torch.einsum("blt,bltd->d", d_scores, tanh)
    return dict(query=d_sum.sum(dim=2), keys=d_sum.sum(dim=1), values=d_values, weight=d_weight)
