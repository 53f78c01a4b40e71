"""Launches ``additive_attention`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.attend import attend, scores_gradient
from m2t_fast.ops.cuda.attention_call import Call
from m2t_fast.ops.cuda.launch import ready
from m2t_fast.records import converted
from m2t_fast.reference.additive_attention import AdditiveInputs, AdditiveOutput


def additive_attention(x: AdditiveInputs) -> AdditiveOutput:
    """Context and weights of ``ops.additive_attention``."""
    dtype, x = x.keys.dtype, converted(x, ready)
    batch, words, _ = x.query.shape
    if batch * words == 0:
        shapes = (batch, words, x.values.shape[2]), (batch, words, x.keys.shape[1])
        return AdditiveOutput(*(x.values.new_empty(shape, dtype=dtype) for shape in shapes))
    made, rest = _call(x).scores(x.keys[:, :, None], x.query, x.weight[None], exact=True)
    return AdditiveOutput(*(v.to(dtype) for v in attend(x, made, rest)))


def additive_attention_backward(grads: AdditiveOutput, x: AdditiveInputs, kept: Any) -> dict[str, Tensor]:
    """Gradients of the four float inputs, from those of the outputs (None: the output was not used)."""
    dtype, x = x.keys.dtype, converted(x, ready)
    if x.query.shape[0] * x.query.shape[1] == 0:
        return {name: torch.zeros_like(getattr(x, name), dtype=dtype) for name in ("query", "keys", "values", "weight")}
    grads = AdditiveOutput(*(g if g is None else ready(g) for g in grads))
    d_scores, d_values = scores_gradient(grads, x, ready(kept.weights))
    d_keys, d_query, d_weight = _call(x).score_gradient(x.keys[:, :, None], x.query, x.weight[None], d_scores)
    found = dict(query=d_query, keys=d_keys.squeeze(2), values=d_values, weight=d_weight[0])
    return {name: value.to(dtype) for name, value in found.items()}


def _call(x: AdditiveInputs) -> Call:
    """The attention's kernels for these sizes: one key per frame, one part."""
    (batch, frames, dim), words, width = x.keys.shape, x.query.shape[1], x.values.shape[2]
    return Call(x.keys, x.lengths, (batch, frames, words, 1, 1, width, dim))
