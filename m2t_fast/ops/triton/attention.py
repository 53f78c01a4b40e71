"""Launches ``spatio_temporal_attention`` and its gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import LOG_MIN, SIGMA_MIN
from m2t_fast.kernels.attention import attention_words
from m2t_fast.kernels.attention_backward import key_gradient_rows, query_gradient_rows, word_gradient
from m2t_fast.kernels.key_gradient import key_gradient
from m2t_fast.kernels.query_gradient import query_gradient
from m2t_fast.kernels.scores import score_rows, score_tiles
from m2t_fast.ops.kept_scores import Scores
from m2t_fast.ops.triton.launch import (
    capability,
    configuration,
    float_target,
    kind,
    on_device,
    power_of_2,
    ready,
    stored,
)
from m2t_fast.records import converted, float_fields, new, partial
from m2t_fast.reference.attention import AttentionInputs, AttentionOutput

FLOATS = float_fields(AttentionInputs)
LARGEST_TILE = 24
"""Words that share a key's exponentials in a program of ``query_gradient``, or keys a word's in ``key_gradient``."""
LARGEST_BLOCK_H = 256
"""Features of a part that one program sums; a longer part is shared by several."""


def spatio_temporal_attention(x: AttentionInputs) -> AttentionOutput:
    """Context, window, spatial, mean and std of ``ops.spatio_temporal_attention``."""
    outputs: AttentionOutput = new(AttentionOutput, x, lambda shape: x.parts.new_empty(shape, dtype=stored(x.parts)))
    launch_forward(x, outputs)
    return AttentionOutput(*(value.to(x.parts.dtype) for value in outputs))


def spatio_temporal_context(x: AttentionInputs) -> Tensor:
    """The context alone, without frames whose window is far below the dtype's resolution."""
    context = x.parts.new_empty(x.parts.shape[0], x.temporal_query.shape[1], x.parts.shape[3], dtype=stored(x.parts))
    launch_forward(x, partial(AttentionOutput, context=context))
    return context.to(x.parts.dtype)


def spatio_temporal_attention_backward(grads: AttentionOutput, x: AttentionInputs, kept: Any) -> dict[str, Tensor]:
    """Gradients of the eight float inputs, from those of the outputs (None: the output was not used)."""
    return launch_backward(grads, x)


def launch_forward(
    x: AttentionInputs, outputs: Any, target: Tensor | None = None, loss: Tensor | None = None
) -> Scores | None:
    """Fills the outputs (None: not wanted) and the spatial loss against the targets; returns the scores."""
    batch, frames, _, part_dim = x.parts.shape
    words = x.temporal_query.shape[1]
    if batch * words == 0:
        return None
    x = converted(x, ready)
    blocks = word_blocks("attention_words", x.parts, x.temporal_keys, words)
    grid = (batch * -(-words // blocks["BLOCK_L"]), -(-part_dim // blocks["BLOCK_H"]))
    with on_device(x.parts):
        temporal, rest = scores(x.temporal_keys, x.temporal_query, x.temporal_weight[None], x.lengths, exact=True)
        spatial, _ = scores(x.spatial_keys, x.spatial_query, x.spatial_weight, x.lengths, exact=False)
        attention_words[grid](
            p_parts=x.parts,
            p_temporal=temporal,
            p_rest=rest,
            p_spatial=spatial,
            p_bias=x.spatial_bias,
            p_length=x.lengths,
            p_target=float_target(target),
            p_context=outputs.context,
            p_window=outputs.window,
            p_alpha=outputs.spatial,
            p_mean=outputs.mean,
            p_std=outputs.std,
            p_loss=loss,
            T=frames,
            L=words,
            scale=x.scale,
            smallest_variance=SIGMA_MIN**2,
            reach=reach(x.parts.dtype),
            CONTEXT_ONLY=outputs.window is None and target is None,
            LOG_MIN=LOG_MIN,
            **blocks,
        )
    return Scores(temporal, rest, spatial)


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
    batch, frames, part_count, _ = parts.shape
    words, slots = x.temporal_query.shape[1], x.temporal_keys.shape[2]
    if batch * words == 0:
        return {name: torch.zeros_like(v, dtype=dtype) for name, v in x._asdict().items() if name in FLOATS}
    d_context, d_window, d_spatial_weights, d_mean, d_std = (v if v is None else ready(v) for v in grads)
    rows = parts.flatten(1, 2)
    with on_device(parts):
        if kept is not None:
            temporal, rest, spatial = kept
        else:
            temporal, rest = scores(x.temporal_keys, x.temporal_query, temporal_weight, x.lengths, exact=True)
            spatial, _ = scores(x.spatial_keys, x.spatial_query, x.spatial_weight, x.lengths, exact=False)
        d_weights = None if d_context is None else torch.bmm(d_context, rows.transpose(1, 2))
        weights = None if d_weights is None else torch.empty_like(d_weights)
        d_temporal, d_spatial = torch.empty_like(temporal), torch.empty_like(spatial)
        blocks = {**configuration("word_gradient", parts), "BLOCK_P": power_of_2(part_count)}
        blocks["BLOCK_L"] = min(blocks["BLOCK_L"], power_of_2(words))
        programs = batch * -(-words // blocks["BLOCK_L"])
        d_bias = temporal.new_zeros(programs, x.spatial_bias.shape[0])
        word_gradient[(programs,)](
            p_temporal=temporal,
            p_rest=rest,
            p_spatial=spatial,
            p_bias=x.spatial_bias,
            p_length=x.lengths,
            p_target=None if d_loss is None else float_target(target),
            p_d_weight=d_weights,
            p_d_window=d_window,
            p_d_alpha=d_spatial_weights,
            p_d_mean=d_mean,
            p_d_std=d_std,
            p_d_loss=None if d_loss is None else d_loss.float().contiguous(),
            p_weight=weights,
            p_d_temporal=d_temporal,
            p_d_spatial=d_spatial,
            p_d_bias=d_bias,
            T=frames,
            L=words,
            scale=x.scale,
            smallest_variance=SIGMA_MIN**2,
            P=part_count,
            S=slots,
            R=x.spatial_bias.shape[0],
            BLOCK_S=power_of_2(slots),
            LOG_MIN=LOG_MIN,
            **blocks,
        )
        if weights is None or d_context is None:
            d_parts = torch.zeros_like(parts)
        else:
            d_parts = torch.bmm(weights.transpose(1, 2), d_context).view(parts.shape)
        d_temporal_keys, d_temporal_query, d_temporal_weight = score_gradient(
            x.temporal_keys, x.temporal_query, temporal_weight, x.lengths, d_temporal
        )
        d_spatial_keys, d_spatial_query, d_spatial_weight = score_gradient(
            x.spatial_keys, x.spatial_query, x.spatial_weight, x.lengths, d_spatial
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


def scores(keys: Tensor, query: Tensor, weight: Tensor, lengths: Tensor, exact: bool) -> tuple[Tensor, Tensor | None]:
    """Scores (B, L, T * S * R) float32 of keys (B, T, S, D), query (B, L, D), weight (R, D); padding is not written.

    With ``exact``, for tensors that are not bfloat16, also what is to be added to them.
    """
    batch, frames, slots, _ = keys.shape
    words, rows = query.shape[1], weight.shape[0]
    out = keys.new_empty(batch, words, frames * slots * rows, dtype=torch.float32)
    rest = torch.empty_like(out) if exact and not short(keys) else None
    arguments = {"p_k": keys, "p_q": query, "p_w": weight, "p_length": lengths, "p_score": out, "T": frames, "L": words}
    name = "score_tiles" if rows == 1 else "score_rows"
    blocks = score_blocks(name, keys, words, rows)
    grid = (batch * -(-words // blocks["BLOCK_L"]) * -(-frames * slots // blocks["BLOCK_N"]),)
    if rows == 1:
        score_tiles[grid](**arguments, p_rest=rest, EXACT=rest is not None, **blocks)
    else:
        matrix = on_matrix_units(keys)
        groups = 1 if matrix else -(-rows // 3)
        score_rows[(*grid, groups)](**arguments, BLOCK_R=max(16, power_of_2(rows)), MATRIX=matrix, **blocks)
    return out, rest


def score_gradient(
    keys: Tensor, query: Tensor, weight: Tensor, lengths: Tensor, d_scores: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of keys, query and weight from that of the scores, as :func:`scores` gives them."""
    batch, frames, slots, dim = keys.shape
    words, rows = query.shape[1], weight.shape[0]
    d_keys, d_query = torch.empty_like(keys), torch.empty_like(query)
    arguments = {
        "p_k": keys,
        "p_q": query,
        "p_w": weight,
        "p_length": lengths,
        "T": frames,
        "L": words,
    }
    made = ("query_gradient", "key_gradient") if rows == 1 else ("query_gradient_rows", "key_gradient_rows")
    blocks, key_blocks = (score_blocks(name, keys, words, rows) for name in made)
    tile = blocks["BLOCK_L"] * blocks.get("GROUPS", 1)
    key_tile = key_blocks["BLOCK_N"] * key_blocks.get("GROUPS", 1)
    programs, chunks = batch * -(-words // tile), -(-dim // (2 * blocks["BLOCK_D"]))
    d_weight = d_scores.new_empty(programs, rows, dim)
    grid = (batch * -(-frames * slots // key_tile), -(-dim // (2 * key_blocks["BLOCK_D"])))
    found = {"p_dq": d_query, "p_dw": d_weight}
    if rows == 1:
        query_gradient[(programs, chunks)](**arguments, **found, p_g=by_word_tile(d_scores, tile), **blocks)
        key_gradient[grid](**arguments, p_g=by_key_tile(d_scores, key_tile), p_dk=d_keys, **key_blocks)
    else:
        query_gradient_rows[(programs, chunks)](**arguments, **found, p_g=d_scores, ROWS=3, **blocks)
        key_gradient_rows[grid](**arguments, p_g=d_scores, p_dk=d_keys, **key_blocks)
    return d_keys, d_query, d_weight.sum(0)


def by_word_tile(d_scores: Tensor, tile: int) -> Tensor:
    """(B, tiles, T * S, tile) of (B, L, T * S): a key's gradients stand side by side, 0 for words after the last."""
    batch, words, _ = d_scores.shape
    if words % tile:
        d_scores = torch.nn.functional.pad(d_scores, (0, 0, 0, -words % tile))
    return d_scores.reshape(batch, -1, tile, d_scores.shape[2]).transpose(2, 3).contiguous()


def by_key_tile(d_scores: Tensor, tile: int) -> Tensor:
    """(B, L, T * S) with room for whole tiles of keys, so that each starts at an aligned address."""
    keys = d_scores.shape[2]
    return torch.nn.functional.pad(d_scores, (0, -keys % tile)) if keys % tile else d_scores.contiguous()


def groups(block: int, words: int | None = None) -> int:
    """Groups of ``block`` words or keys per program, for any number of them, so that none compiles anything again.

    One where a group holds all words, which is compiled by itself.
    """
    return 1 if words is not None and words <= block else max(1, LARGEST_TILE // block)


def score_blocks(kernel: str, keys: Tensor, words: int, rows: int) -> dict[str, Any]:
    """Compile-time sizes and launch options of a kernel over one of the two scorings."""
    slots, dim = keys.shape[2:]
    blocks = {**configuration(kernel, keys), "S": slots, "R": rows, "D": dim, "SHORT": short(keys)}
    if "BLOCK_L" in blocks:
        blocks["BLOCK_L"] = min(blocks["BLOCK_L"], power_of_2(words))
    if kernel == "query_gradient":
        blocks["GROUPS"] = groups(blocks["BLOCK_L"], words)
    elif kernel == "key_gradient":
        blocks["GROUPS"] = groups(blocks["BLOCK_N"])
    # A program takes the dimensions in pairs of blocks.
    return {**blocks, "BLOCK_D": max(16, min(blocks["BLOCK_D"], power_of_2(dim) // 2))}


def word_blocks(kernel: str, parts: Tensor, temporal_keys: Tensor, words: int) -> dict[str, Any]:
    """Compile-time sizes and launch options of ``attention_words`` for the shapes and dtype of these tensors."""
    part_count, part_dim = parts.shape[2:]
    slots = temporal_keys.shape[2]
    blocks = configuration(kernel, parts)
    return {
        **blocks,
        "P": part_count,
        "S": slots,
        "R": part_count if slots == 1 else 1,
        "H": part_dim,
        "BLOCK_L": min(blocks["BLOCK_L"], power_of_2(words)),
        "BLOCK_H": max(16, min(LARGEST_BLOCK_H, power_of_2(part_dim))),
        "BLOCK_P": power_of_2(part_count),
        "BLOCK_S": power_of_2(slots),
    }


def short(tensor: Tensor) -> bool:
    """Whether the kernels may round as bfloat16 allows; in the interpreter tensors are float32."""
    return kind(stored(tensor)) == "short"


def on_matrix_units(tensor: Tensor) -> bool:
    """Whether sums of several rows of weights go to the matrix units, which take a tanh rounded to float16.

    Before sm_80 Triton feeds them through shared memory, which takes longer than sums without them.
    """
    return short(tensor) or (stored(tensor) == torch.float16 and capability(tensor) >= 80)


def reach(dtype: torch.dtype) -> float:
    """Distance from the mean, in sigma, beyond which a window is below a sixteenth of the dtype's resolution."""
    return math.sqrt(-2 * math.log(torch.finfo(dtype).eps / 16))
