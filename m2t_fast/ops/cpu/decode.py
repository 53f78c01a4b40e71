"""Launches ``search`` and ``sample_words``: whole captions in one call each."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SIGMA_MIN, SOS
from m2t_fast.ops.cpu.launch import addresses, how, kernel, ready
from m2t_fast.ops.decode import DecoderWeights


def search(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    lengths: Tensor,
    weights: list[Tensor],
    beam_size: int,
    max_length: int,
    length_penalty: float,
    force_gate: float | None,
    scale: float,
) -> tuple[Tensor, ...]:
    """The outputs of ``ops.search``, all of max_length words."""
    memory, inputs = [ready(x) for x in (parts, temporal_keys, spatial_keys)], _layers(DecoderWeights(*weights))
    lengths = lengths.contiguous()
    batch, frames, part_count, _ = parts.shape
    tokens = torch.empty(batch, beam_size, max_length, dtype=torch.int64)
    shapes = (
        (batch, beam_size),
        (batch, max_length, frames),
        (batch, max_length, frames, part_count),
        (batch, max_length),
        (batch, max_length),
        (batch, max_length),
    )
    scores, *attention = (torch.empty(shape, dtype=memory[0].dtype) for shape in shapes)
    kernel("decode_search", parts.dtype)(
        options=[beam_size, max_length, PAD, SOS, EOS],
        length_penalty=length_penalty,
        outputs=addresses([tokens, scores, *attention]),
        **_model_arguments(memory, lengths, inputs, scale, force_gate),
    )
    window, spatial, mean, std, gate = (x.to(parts.dtype) for x in attention)
    return tokens, scores, gate, window, spatial, mean, std


def sample_words(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    lengths: Tensor,
    weights: list[Tensor],
    words: Tensor,
    coins: Tensor,
    input_dropout: Tensor | None,
    mixed_dropout: Tensor | None,
    scale: float,
) -> Tensor:
    """The words of ``ops.sample_words``."""
    memory, inputs = [ready(x) for x in (parts, temporal_keys, spatial_keys)], _layers(DecoderWeights(*weights))
    lengths, coins = lengths.contiguous(), coins.cpu().contiguous()
    words = words.clone(memory_format=torch.contiguous_format)
    dropout = [x if x is None else ready(x) for x in (input_dropout, mixed_dropout)]
    first, second = addresses(dropout)
    kernel("decode_sample_words", parts.dtype)(
        words=words.data_ptr(),
        coins=coins.data_ptr(),
        length=words.shape[1],
        input_dropout=first,
        mixed_dropout=second,
        **_model_arguments(memory, lengths, inputs, scale, None),
    )
    return words


def _layers(w: DecoderWeights) -> list[Tensor]:
    """The weights as the kernels take them: what multiplies the same input, or is summed, becomes one layer."""
    layers = [
        w.embedding,
        torch.cat([w.bottom_input, w.bottom_hidden], dim=1),
        w.bottom_input_bias + w.bottom_hidden_bias,
        torch.cat([w.top_input, w.top_hidden], dim=1),
        w.top_input_bias + w.top_hidden_bias,
        torch.cat([w.temporal_query, w.spatial_query]),
        torch.cat([w.temporal_query_bias, w.spatial_query_bias]),
        *w[DecoderWeights._fields.index("temporal_weight") :],
    ]
    return [ready(x) for x in layers]


def _model_arguments(
    memory: list[Tensor], lengths: Tensor, layers: list[Tensor], scale: float, force_gate: float | None
) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    parts, temporal_keys, _ = memory
    embedding, top, mixture = layers[0], layers[3], layers[17]
    batch, frames, part_count, part_dim = parts.shape
    slots, attention_dim = temporal_keys.shape[2:]
    vocabulary, word = embedding.shape
    return dict(
        sizes=[
            batch, frames, part_count, slots, part_dim, attention_dim, top.shape[0] // 4, word, mixture.shape[0],
            vocabulary,
        ],
        memory=[*addresses(memory), lengths.data_ptr()],
        weights=addresses(layers),
        numbers=[scale, SIGMA_MIN, math.nan if force_gate is None else force_gate],
        **how(),
    )  # fmt: skip
