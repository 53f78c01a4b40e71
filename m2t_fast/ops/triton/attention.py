"""Launches ``spatio_temporal_attention`` and its gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import LOG_MIN, SIGMA_MIN
from m2t_fast.kernels.attention import attention_forward
from m2t_fast.kernels.attention_backward import key_gradient, query_gradient, score_tiles, word_gradient
from m2t_fast.ops.triton.launch import approximate, configuration, float_target, on_device, power_of_2, ready, stored

LARGEST_BLOCK_H = 256
"""Features of a part that one program sums; a longer part is shared by several, which score the frames each."""


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
    outputs = tuple(parts.new_empty(shape, dtype=stored(parts)) for shape in shapes)
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
    context = parts.new_empty(parts.shape[0], temporal_query.shape[1], parts.shape[3], dtype=stored(parts))
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
    """Context and spatial loss of ``ops.guided_attention``; no weight of a frame or part leaves the kernel."""
    context = parts.new_empty(parts.shape[0], temporal_query.shape[1], parts.shape[3], dtype=stored(parts))
    loss = parts.new_empty(context.shape[:2], dtype=torch.float32)
    inputs = [parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight]
    outputs = (context, None, None, None, None)
    _forward([*inputs, spatial_bias], lengths, outputs, scale, spatial_target, loss)
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


def _forward(
    inputs: list[Tensor],
    lengths: Tensor,
    outputs: tuple[Tensor | None, ...],
    scale: float,
    target: Tensor | None = None,
    loss: Tensor | None = None,
) -> None:
    parts, temporal_keys, temporal_query = inputs[0], inputs[1], inputs[3]
    batch, frames, _, part_dim = parts.shape
    words = temporal_query.shape[1]
    if batch * words == 0:
        return
    blocks = forward_blocks(parts, temporal_keys, words)
    grid = (batch * -(-words // blocks["BLOCK_L"]), -(-part_dim // blocks["BLOCK_H"]))
    with on_device(parts):
        attention_forward[grid](
            *(ready(x) for x in inputs),
            lengths.contiguous(),
            float_target(target),
            *outputs,
            loss,
            frames,
            words,
            scale,
            SIGMA_MIN**2,
            reach(parts.dtype),
            CONTEXT_ONLY=outputs[1] is None and target is None,
            LOG_MIN=LOG_MIN,
            **blocks,
        )


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
    lengths = lengths.contiguous()
    batch, frames, part_count, _ = parts.shape
    words, slots = temporal_query.shape[1], temporal_keys.shape[2]
    if batch * words == 0:
        return tuple(torch.zeros_like(x, dtype=dtype) for x in inputs)
    d_context, *others = (x if x is None else ready(x) for x in grads)
    rows = parts.flatten(1, 2)
    with on_device(parts):
        exact = not approximate(parts)
        temporal, rest = _scores(temporal_keys, temporal_query, temporal_weight[None], lengths, exact)
        spatial, _ = _scores(spatial_keys, spatial_query, spatial_weight, lengths, exact=False)
        d_weights = None if d_context is None else torch.bmm(d_context, rows.transpose(1, 2))
        weights = None if d_weights is None else torch.empty_like(d_weights)
        d_temporal, d_spatial = torch.empty_like(temporal), torch.empty_like(spatial)
        blocks = {**configuration("word_gradient", parts), "BLOCK_P": power_of_2(part_count)}
        blocks["BLOCK_L"] = min(blocks["BLOCK_L"], power_of_2(words))
        programs = batch * -(-words // blocks["BLOCK_L"])
        d_bias = temporal.new_zeros(programs, bias.shape[0])
        word_gradient[(programs,)](
            temporal,
            rest,
            spatial,
            bias,
            lengths,
            None if d_loss is None else float_target(target),
            d_weights,
            *others,
            None if d_loss is None else d_loss.float().contiguous(),
            weights,
            d_temporal,
            d_spatial,
            d_bias,
            frames,
            words,
            scale,
            SIGMA_MIN**2,
            P=part_count,
            S=slots,
            R=bias.shape[0],
            BLOCK_S=power_of_2(slots),
            LOG_MIN=LOG_MIN,
            **blocks,
        )
        if weights is None or d_context is None:
            d_parts = torch.zeros_like(parts)
        else:
            d_parts = torch.bmm(weights.transpose(1, 2), d_context).view(parts.shape)
        ours = _score_gradient(temporal_keys, temporal_query, temporal_weight[None], lengths, d_temporal)
        theirs = _score_gradient(spatial_keys, spatial_query, spatial_weight, lengths, d_spatial)
    gradients = (d_parts, ours[0], theirs[0], ours[1], theirs[1], ours[2][0], theirs[2], d_bias.sum(0))
    return tuple(x.to(dtype) for x in gradients)


def _scores(keys: Tensor, query: Tensor, weight: Tensor, lengths: Tensor, exact: bool) -> tuple[Tensor, Tensor | None]:
    """Scores (B, L, T * S * R) float32 of keys (B, T, S, D), query (B, L, D), weight (R, D); padding is not written.

    With ``exact`` also what is to be added to them.
    """
    batch, frames, slots, _ = keys.shape
    words, count = query.shape[1], weight.shape[0]
    out = keys.new_empty(batch, words, frames * slots * count, dtype=torch.float32)
    rest = torch.empty_like(out) if exact else None
    blocks = score_blocks("score_tiles", keys, words, count)
    grid = (batch * -(-words // blocks["BLOCK_L"]) * -(-frames // blocks["BLOCK_T"]),)
    score_tiles[grid](keys, query, weight, lengths, out, rest, frames, words, EXACT=exact, **blocks)
    return out, rest


def _score_gradient(
    keys: Tensor, query: Tensor, weight: Tensor, lengths: Tensor, d_scores: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of keys, query and weight from that of the scores, as :func:`_scores` gives them."""
    batch, frames, slots, dim = keys.shape
    words, count = query.shape[1], weight.shape[0]
    d_keys, d_query = torch.empty_like(keys), torch.empty_like(query)
    blocks = score_blocks("query_gradient", keys, words, count)
    chunks = -(-dim // blocks["BLOCK_D"])
    programs = batch * -(-words // blocks["BLOCK_L"])
    d_weight = d_scores.new_empty(programs, count, dim)
    query_gradient[(programs, chunks)](
        keys, query, weight, d_scores, lengths, d_query, d_weight, frames, words, **blocks
    )
    blocks = score_blocks("key_gradient", keys, words, count)
    del blocks["BLOCK_R"]
    grid = (batch * slots * -(-frames // blocks["BLOCK_T"]), -(-dim // blocks["BLOCK_D"]))
    key_gradient[grid](keys, query, weight, d_scores, lengths, d_keys, frames, words, **blocks)
    return d_keys, d_query, d_weight.sum(0)


def score_blocks(kernel: str, keys: Tensor, words: int, rows: int) -> dict[str, Any]:
    """Compile-time sizes and launch options of a kernel over one of the two scorings."""
    slots, dim = keys.shape[2:]
    blocks = {**configuration(kernel, keys), "S": slots, "R": rows, "D": dim, "APPROXIMATE": approximate(keys)}
    return {
        **blocks,
        "BLOCK_L": min(blocks["BLOCK_L"], power_of_2(words)),
        "BLOCK_D": min(blocks["BLOCK_D"], power_of_2(dim)),
        "BLOCK_R": power_of_2(slots * rows if kernel == "score_tiles" else rows),
    }


def forward_blocks(parts: Tensor, temporal_keys: Tensor, words: int) -> dict[str, Any]:
    """Compile-time sizes and launch options of ``attention_forward`` for the shapes and dtype of these tensors."""
    part_count, part_dim = parts.shape[2:]
    blocks = {**configuration("attention_forward", parts), **sizes(parts, temporal_keys)}
    return {
        **blocks,
        "BLOCK_L": min(blocks["BLOCK_L"], power_of_2(words)),
        "BLOCK_D": min(blocks["BLOCK_D"], power_of_2(temporal_keys.shape[3])),
        "BLOCK_H": max(16, min(LARGEST_BLOCK_H, power_of_2(part_dim))),
        "BLOCK_P": power_of_2(part_count),
        "BLOCK_S": power_of_2(temporal_keys.shape[2]),
        "APPROXIMATE": approximate(parts),
    }


def sizes(parts: Tensor, temporal_keys: Tensor) -> dict[str, int]:
    """The letters that a kernel is compiled for."""
    part_count, part_dim = parts.shape[2:]
    slots, attention_dim = temporal_keys.shape[2:]
    return {"P": part_count, "S": slots, "R": part_count if slots == 1 else 1, "H": part_dim, "D": attention_dim}


def reach(dtype: torch.dtype) -> float:
    """Distance from the mean, in sigma, beyond which a window is below a sixteenth of the dtype's resolution."""
    return math.sqrt(-2 * math.log(torch.finfo(dtype).eps / 16))
