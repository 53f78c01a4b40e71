"""Launches ``spatio_temporal_attention``, with or without the spatial loss, and its gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from m2t_fast.config import LOG_MIN, SIGMA_MIN
from m2t_fast.ops.cuda.attention_call import Call
from m2t_fast.ops.cuda.launch import addresses, ready, stored


def spatio_temporal_attention(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    scale: float,
) -> tuple[Tensor, ...]:
    """Context, window, spatial, mean and std of ``ops.spatio_temporal_attention``."""
    batch, frames, part_count, part_dim = parts.shape
    words = temporal_query.shape[1]
    shapes = (
        (batch, words, part_dim),
        (batch, words, frames),
        (batch, words, frames, part_count),
        (batch, words),
        (batch, words),
    )
    outputs = tuple(parts.new_empty(shape, dtype=stored(parts.dtype)) for shape in shapes)
    inputs = (parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight)
    _forward([*inputs, spatial_bias], lengths, outputs, scale)
    return tuple(x.to(parts.dtype) for x in outputs)


def spatio_temporal_context(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    scale: float,
) -> Tensor:
    """The context alone, without frames whose window is far below what the dtype resolves."""
    shape = (parts.shape[0], temporal_query.shape[1], parts.shape[3])
    context = parts.new_empty(shape, dtype=stored(parts.dtype))
    inputs = (parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight)
    _forward([*inputs, spatial_bias], lengths, (context, None, None, None, None), scale)
    return context.to(parts.dtype)


def spatio_temporal_attention_backward(
    grads: tuple[Tensor | None, ...],
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    mean: Tensor,
    std: Tensor,
    scale: float,
) -> tuple[Tensor, ...]:
    """Gradients of the eight float inputs, from the gradients of the five outputs (None: the output was not used).

    ``mean`` and ``std`` are not read: the kernels make them again, because float32 cannot hold those of a long motion.
    """
    inputs = [parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight]
    return _backward(grads, [*inputs, spatial_bias], lengths, scale)


def guided_attention(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    spatial_target: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Context and spatial loss of ``ops.guided_attention``; window and alpha are not written."""
    shape = (parts.shape[0], temporal_query.shape[1], parts.shape[3])
    context = parts.new_empty(shape, dtype=stored(parts.dtype))
    loss = parts.new_empty(shape[:2], dtype=torch.float32)
    inputs = [parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight]
    _forward([*inputs, spatial_bias], lengths, (context, None, None, None, None), scale, spatial_target, loss)
    return context.to(parts.dtype), loss


def guided_attention_backward(
    grads: tuple[Tensor | None, Tensor | None],
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    spatial_target: Tensor,
    scale: float,
) -> tuple[Tensor, ...]:
    """Gradients of the eight float inputs, from those of context and loss (None: the output was not used)."""
    d_context, d_loss = grads
    inputs = [parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight]
    every = (d_context, None, None, None, None)
    return _backward(every, [*inputs, spatial_bias], lengths, scale, spatial_target, d_loss)


def _backward(
    grads: tuple[Tensor | None, ...],
    inputs: list[Tensor],
    lengths: Tensor,
    scale: float,
    target: Tensor | None = None,
    d_loss: Tensor | None = None,
) -> tuple[Tensor, ...]:
    dtype = inputs[0].dtype
    inputs = [ready(x) for x in inputs]
    parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight, bias = inputs
    call = Call.of(parts, temporal_keys, temporal_query, lengths)
    batch, words, rows = call.sizes[0], call.sizes[2], bias.shape[0]
    if batch * words == 0:
        return tuple(torch.zeros_like(x, dtype=dtype) for x in inputs)
    d_context, *others = (x if x is None else ready(x) for x in grads)
    temporal, rest = call.scores(temporal_keys, temporal_query, temporal_weight[None], exact=True)
    spatial, _ = call.scores(spatial_keys, spatial_query, spatial_weight)
    stats = call.moments(temporal, rest)
    d_weights = None if d_context is None else torch.bmm(d_context, parts.flatten(1, 2).transpose(1, 2))
    weights = None if d_weights is None else torch.empty_like(d_weights)
    d_bias = temporal.new_zeros(batch * words, rows)
    goals, d_losses = None if d_loss is None else _float(target), _float(d_loss)
    call.run(
        "attention_word_gradient",
        lengths=call.lengths.data_ptr(),
        stats=stats.data_ptr(),
        bias=bias.data_ptr(),
        scale=scale,
        smallest_variance=SIGMA_MIN**2,
        grads=addresses((d_weights, *others)),
        target=addresses([goals])[0],
        d_loss=addresses([d_losses])[0],
        least_log=LOG_MIN,
        rest=addresses([rest])[0],
        temporal=temporal.data_ptr(),
        spatial=spatial.data_ptr(),
        weights=addresses([weights])[0],
        d_bias=d_bias.data_ptr(),
    )
    if weights is None or d_context is None:
        d_parts = torch.zeros_like(parts)
    else:
        d_parts = torch.bmm(weights.transpose(1, 2), d_context).view(parts.shape)
    ours = call.score_gradient(temporal_keys, temporal_query, temporal_weight[None], temporal)
    theirs = call.score_gradient(spatial_keys, spatial_query, spatial_weight, spatial)
    gradients = (d_parts, ours[0], theirs[0], ours[1], theirs[1], ours[2][0], theirs[2], d_bias.sum(0))
    return tuple(x.to(dtype) for x in gradients)


def _forward(
    inputs: list[Tensor],
    lengths: Tensor,
    outputs: tuple[Tensor | None, ...],
    scale: float,
    target: Tensor | None = None,
    loss: Tensor | None = None,
) -> None:
    inputs = [ready(x) for x in inputs]
    parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight, bias = inputs
    context, window, alpha, mean, std = addresses(outputs)
    call = Call.of(parts, temporal_keys, temporal_query, lengths)
    if call.sizes[0] * call.sizes[2] == 0:
        return
    temporal, rest = call.scores(temporal_keys, temporal_query, temporal_weight[None], exact=True)
    # Outside this many sigma a window is below a sixteenth of the dtype's resolution: nothing of it is computed.
    reach = 0.0 if window or loss is not None else math.sqrt(-2 * math.log(torch.finfo(parts.dtype).eps / 16))
    stats = call.moments(temporal, rest, reach=reach, mean=mean, std=std)
    weights, _ = call.scores(spatial_keys, spatial_query, spatial_weight, stats=stats if reach else None)
    if loss is not None:
        goals = _float(target)
        call.run(
            "attention_loss",
            spatial=weights.data_ptr(),
            bias=bias.data_ptr(),
            lengths=call.lengths.data_ptr(),
            target=addresses([goals])[0],
            least_log=LOG_MIN,
            loss=loss.data_ptr(),
        )
    call.run(
        "attention_window",
        lengths=call.lengths.data_ptr(),
        stats=stats.data_ptr(),
        bias=bias.data_ptr(),
        scale=scale,
        spatial=weights.data_ptr(),
        out_window=window,
        out_spatial=alpha,
    )
    call.run(
        "attention_context",
        parts=parts.data_ptr(),
        weights=weights.data_ptr(),
        stats=stats.data_ptr(),
        context=context,
    )


def _float(x: Tensor | None) -> Tensor | None:
    """Targets, or a loss's gradient, as the kernels read them."""
    return None if x is None else x.float().contiguous()
