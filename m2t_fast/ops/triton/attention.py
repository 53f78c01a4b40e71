"""Launches ``spatio_temporal_attention`` and its gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import SIGMA_MIN
from m2t_fast.kernels.attention import attention_forward
from m2t_fast.ops.triton.launch import approximate, configuration, on_device, power_of_2, ready, stored

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
    outputs = [parts.new_empty(shape, dtype=stored(parts)) for shape in shapes]
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
    _forward([*inputs, spatial_bias], lengths, [context] * 5, scale, context_only=True)
    return context.to(parts.dtype)


def _forward(
    inputs: list[Tensor], lengths: Tensor, outputs: list[Tensor], scale: float, context_only: bool = False
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
            *outputs,
            frames,
            words,
            scale,
            SIGMA_MIN**2,
            reach(parts.dtype),
            CONTEXT_ONLY=context_only,
            **blocks,
        )


def forward_blocks(parts: Tensor, temporal_keys: Tensor, words: int) -> dict[str, Any]:
    """Compile-time sizes and launch options of ``attention_forward`` for the shapes and dtype of these tensors."""
    part_count, part_dim = parts.shape[2:]
    blocks = {**configuration("attention_forward", parts), **sizes(parts, temporal_keys)}
    return {
        **blocks,
        "BLOCK_L": min(blocks["BLOCK_L"], power_of_2(words)),
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
