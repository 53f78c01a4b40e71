"""Launches ``vocabulary_loss``: logits of the words that count, their cross entropy, and the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.config import PAD
from m2t_fast.ops.cpu.launch import empty, run
from m2t_fast.ops.cpu.linear import arithmetic, as_computed, input_gradient, linear, weight_gradients


def vocabulary_loss(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss of ``ops.vocabulary_loss`` and, with ``keep``, the gradients of features, weight and bias."""
    dtype, words = features.dtype, (targets != PAD).nonzero()[:, 0]
    computed = arithmetic(dtype, [features.shape[1]])
    x, targets = as_computed(features, computed)[words], targets[words]
    w, b = as_computed(weight, computed), as_computed(bias, computed)
    columns = len(b)
    if computed == torch.bfloat16 and columns % 2:  # it is multiplied in pairs: a word that is never said
        w, b = torch.nn.functional.pad(w, (0, 0, 0, 1)), torch.nn.functional.pad(b, (0, 1), value=-torch.inf)
    (logits,) = linear(x, [(w, b)], wide=True)
    losses = torch.empty(len(words), dtype=torch.float64, device="cpu")
    short = computed == torch.bfloat16
    gradient = empty(logits.shape, x) if keep and short else logits
    task = dict(
        logits=logits,
        targets=targets,
        rows=len(words),
        columns=logits.shape[1],
        losses=losses,
        gradient=gradient if keep and not short else None,
        short_gradient=gradient if keep and short else None,
    )
    run("cross_entropy", logits.dtype, task=task)
    loss = losses.sum().to(torch.promote_types(dtype, torch.float32))
    if not keep:
        none = features.new_empty(0)
        return loss, none, none.clone(), none.clone()
    d_features = torch.zeros_like(features, dtype=computed)
    d_features[words] = input_gradient([gradient], [w])
    ((d_weight, d_bias),) = weight_gradients([(gradient, x)])
    d_weight, d_bias = d_weight[:columns], d_bias[:columns]
    return loss, d_features.to(dtype), d_weight.to(dtype).contiguous(), d_bias.to(dtype).contiguous()
