"""Launches ``spatio_temporal_attention``, with or without the spatial loss, and its gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import LOG_MIN, SIGMA_MIN
from m2t_fast.ops.cuda.attention_call import Call
from m2t_fast.ops.cuda.launch import ready, stored
from m2t_fast.ops.kept_scores import Scores
from m2t_fast.records import converted, float_fields, new, partial
from m2t_fast.reference.attention import AttentionInputs, AttentionOutput

FLOATS = float_fields(AttentionInputs)


def spatio_temporal_attention(x: AttentionInputs) -> AttentionOutput:
    """Context, window, spatial, mean and std of ``ops.spatio_temporal_attention``."""
    outputs: AttentionOutput = new(
        AttentionOutput, x, lambda shape: x.parts.new_empty(shape, dtype=stored(x.parts.dtype))
    )
    launch_forward(x, outputs)
    return AttentionOutput(*(value.to(x.parts.dtype) for value in outputs))


def spatio_temporal_context(x: AttentionInputs) -> Tensor:
    """The context alone, without frames whose window is far below the dtype's resolution."""
    shape = (x.parts.shape[0], x.temporal_query.shape[1], x.parts.shape[3])
    context = x.parts.new_empty(shape, dtype=stored(x.parts.dtype))
    launch_forward(x, partial(AttentionOutput, context=context))
    return context.to(x.parts.dtype)


def spatio_temporal_attention_backward(grads: AttentionOutput, x: AttentionInputs, kept: Any) -> dict[str, Tensor]:
    """Gradients of the eight float inputs, from those of the outputs (None: the output was not used)."""
    return launch_backward(grads, x)


def launch_backward(
    grads: Any,
    x: AttentionInputs,
    target: Tensor | None = None,
    d_loss: Tensor | None = None,
    kept: Scores | None = None,
) -> dict[str, Tensor]:
    """Gradients of the eight float inputs, from those of the outputs and of the spatial loss (None: not used).

    Scores that the forward pass ``kept`` are not recomputed.
    """
    dtype, x = x.parts.dtype, converted(x, ready)
    parts, temporal_weight = x.parts, x.temporal_weight[None]
    call = Call.of(x, dtype)
    batch, words, rows = call.sizes[0], call.sizes[2], len(x.spatial_bias)
    if batch * words == 0:
        return {name: torch.zeros_like(v, dtype=dtype) for name, v in x._asdict().items() if name in FLOATS}
    d_context, d_window, d_spatial, d_mean, d_std = (v if v is None else ready(v) for v in grads)
    if kept is not None:  # their gradients take their place, and another backward pass may want them
        temporal, rest, spatial = kept.temporal.clone(), kept.rest, kept.spatial.clone()
    else:
        temporal, rest = call.scores(x.temporal_keys, x.temporal_query, temporal_weight, exact=True)
        spatial, _ = call.scores(x.spatial_keys, x.spatial_query, x.spatial_weight)
    stats = call.moments(temporal, rest)
    d_weights = None if d_context is None else torch.bmm(d_context, parts.flatten(1, 2).transpose(1, 2))
    weights = None if d_weights is None else torch.empty_like(d_weights)
    d_bias = temporal.new_zeros(batch * words, rows)
    call.run(
        "attention_word_gradient",
        lengths=call.lengths,
        stats=stats,
        bias=x.spatial_bias,
        scale=x.scale,
        smallest_variance=SIGMA_MIN**2,
        d_weights=d_weights,
        d_window=d_window,
        d_spatial=d_spatial,
        d_mean=d_mean,
        d_std=d_std,
        target=_float(target),
        d_loss=_float(d_loss),
        least_log=LOG_MIN,
        rest=rest,
        temporal=temporal,
        spatial=spatial,
        weights=weights,
        d_bias=d_bias,
    )
    if weights is None or d_context is None:
        d_parts = torch.zeros_like(parts)
    else:
        d_parts = torch.bmm(weights.transpose(1, 2), d_context).view(parts.shape)
    d_temporal_keys, d_temporal_query, d_temporal_weight = call.score_gradient(
        x.temporal_keys, x.temporal_query, temporal_weight, temporal
    )
    d_spatial_keys, d_spatial_query, d_spatial_weight = call.score_gradient(
        x.spatial_keys, x.spatial_query, x.spatial_weight, spatial
    )
    found = dict(
        parts=d_parts,
        temporal_keys=d_temporal_keys,
        spatial_keys=d_spatial_keys,
        temporal_query=d_temporal_query,
        spatial_query=d_spatial_query,
        temporal_weight=d_temporal_weight[0],
        spatial_weight=d_spatial_weight,
        spatial_bias=d_bias.sum(0),
    )
    return {name: value.to(dtype) for name, value in found.items()}


def launch_forward(
    x: AttentionInputs, outputs: Any, target: Tensor | None = None, loss: Tensor | None = None, keep: bool = False
) -> Scores | None:
    """Fills the outputs (None: not wanted) and the spatial loss against the targets; returns the scores."""
    dtype, x = x.parts.dtype, converted(x, ready)
    call = Call.of(x, dtype)
    if call.sizes[0] * call.sizes[2] == 0:
        return None
    temporal, rest = call.scores(x.temporal_keys, x.temporal_query, x.temporal_weight[None], exact=True)
    # Outside this many sigma a window is below a sixteenth of the dtype's resolution: nothing of it is computed.
    every_frame = outputs.window is not None or loss is not None
    reach = 0.0 if every_frame else math.sqrt(-2 * math.log(torch.finfo(x.parts.dtype).eps / 16))
    stats = call.moments(temporal, rest, reach=reach, mean=outputs.mean, std=outputs.std)
    weights, _ = call.scores(x.spatial_keys, x.spatial_query, x.spatial_weight, stats=stats if reach else None)
    kept = Scores(temporal, rest, weights.clone()) if keep else None  # the weights take the spatial ones' place
    if loss is not None:
        call.run(
            "attention_loss",
            spatial=weights,
            bias=x.spatial_bias,
            lengths=call.lengths,
            target=_float(target),
            least_log=LOG_MIN,
            loss=loss,
        )
    call.run(
        "attention_window",
        lengths=call.lengths,
        stats=stats,
        bias=x.spatial_bias,
        scale=x.scale,
        spatial=weights,
        out_window=outputs.window,
        out_spatial=outputs.spatial,
    )
    call.run("attention_context", parts=x.parts, weights=weights, stats=stats, context=outputs.context)
    return kept


def _float(x: Tensor | None) -> Tensor | None:
    """Targets, or a loss's gradient, as the kernels read them."""
    return None if x is None else x.float().contiguous()
