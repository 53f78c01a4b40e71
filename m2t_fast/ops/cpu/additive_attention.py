"""Launches ``additive_attention`` and its gradient."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from m2t_fast.ops.attend import mixed, scores_gradient
from m2t_fast.ops.cpu.launch import empty, ready, run
from m2t_fast.records import converted
from m2t_fast.reference.additive_attention import AdditiveInputs, AdditiveOutput


def additive_attention(x: AdditiveInputs) -> AdditiveOutput:
    """Context and weights of ``ops.additive_attention``."""
    dtype, x = x.keys.dtype, converted(x, ready)
    weights = empty((*x.query.shape[:2], x.keys.shape[1]), x.keys)
    run("additive_weights", weights.dtype, outputs=dict(weights=weights), **_arguments(x))
    return AdditiveOutput(*(v.to(dtype) for v in mixed(x, weights)))


def additive_attention_backward(grads: AdditiveOutput, x: AdditiveInputs, kept: Any) -> dict[str, Tensor]:
    """Gradients of the four float inputs, from those of the outputs (None: the output was not used)."""
    dtype, x = x.keys.dtype, converted(x, ready)
    grads = AdditiveOutput(*(g if g is None else ready(g) for g in grads))
    d_scores, d_values = scores_gradient(grads, x, ready(kept.weights))
    d_scores = d_scores.contiguous()
    found = {name: empty(getattr(x, name).shape, x.keys) for name in ("query", "keys", "weight")}
    run("additive_gradient", x.keys.dtype, grads=dict(scores=d_scores), outputs=found, **_arguments(x))
    return {name: value.to(dtype) for name, value in dict(found, values=d_values).items()}


def _arguments(x: AdditiveInputs) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    batch, frames, dim = x.keys.shape
    return dict(sizes=dict(batch=batch, frames=frames, words=x.query.shape[1], dim=dim), inputs=x)
