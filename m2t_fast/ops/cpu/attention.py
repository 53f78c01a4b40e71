"""Launches ``spatio_temporal_attention`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import SIGMA_MIN
from m2t_fast.ops.cpu.launch import empty, ready, run
from m2t_fast.records import float_fields, new
from m2t_fast.reference.attention import AttentionInputs, AttentionOutput


def spatio_temporal_attention_keeps(x: AttentionInputs) -> bool:
    """gamma (B, L, T, S) is kept in the precision of the arithmetic; beside it float16 holds alpha too coarsely."""
    return x.parts.dtype != torch.float16


def spatio_temporal_attention(x: AttentionInputs, keep: bool = False) -> Any:
    """The outputs of ``ops.spatio_temporal_attention``; with ``keep`` and them a tuple of gamma."""
    dtype, x = x.parts.dtype, _ready(x)
    outputs: AttentionOutput = new(AttentionOutput, x, lambda shape: empty(shape, x.temporal_query))
    shape = (*outputs.window.shape, x.temporal_keys.shape[2])
    gamma = empty(shape, x.temporal_query) if keep else None
    run("attention_forward", x.parts.dtype, outputs={**outputs._asdict(), "gamma": gamma}, **_arguments(x))
    outputs = AttentionOutput(*(value.to(dtype) for value in outputs))
    return (outputs, (gamma,)) if keep else outputs


def spatio_temporal_attention_backward(grads: AttentionOutput, x: AttentionInputs, kept: Any) -> dict[str, Tensor]:
    """Gradients of the eight float inputs, from those of the outputs (None: the output was not used).

    What was ``kept``, ``spatial`` and ``gamma``, saves recomputing the scores.
    """
    dtype, x = x.parts.dtype, _ready(x)
    grads = AttentionOutput(*(grad if grad is None else ready(grad) for grad in grads))
    spatial = None if kept.gamma is None else ready(kept.spatial)
    outputs = {name: empty(value.shape, value) for name, value in x._asdict().items() if name in _FLOATS}
    run(
        "attention_backward",
        x.parts.dtype,
        kept=dict(spatial=spatial, gamma=kept.gamma),
        grads=grads,
        outputs=outputs,
        **_arguments(x),
    )
    return {name: value.to(dtype) for name, value in outputs.items()}


_FLOATS = float_fields(AttentionInputs)
_OF_FRAMES = ("parts", "temporal_keys", "spatial_keys")


def _ready(x: AttentionInputs) -> AttentionInputs:
    """The inputs as the kernels take them: tensors with a row per frame stay in bfloat16 if stored so."""
    stored = _OF_FRAMES if x.parts.dtype == torch.bfloat16 else ()
    tensors: dict[str, Any] = {
        name: value.contiguous() if name in stored else ready(value)
        for name, value in x._asdict().items()
        if isinstance(value, Tensor)
    }
    return x._replace(**tensors)


def _arguments(x: AttentionInputs) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    batch, frames, parts, part_dim = x.parts.shape
    slots, attention_dim = x.temporal_keys.shape[2:]
    words = x.temporal_query.shape[1]
    return dict(
        sizes=dict(
            batch=batch,
            frames=frames,
            words=words,
            parts=parts,
            slots=slots,
            part_dim=part_dim,
            attention_dim=attention_dim,
        ),
        inputs={**x._asdict(), "sigma_min": SIGMA_MIN},
    )
