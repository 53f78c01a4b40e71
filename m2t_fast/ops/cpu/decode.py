"""Launches ``search`` and ``sample_words``: whole captions in one call each."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SIGMA_MIN, SOS
from m2t_fast.ops.checks import checked_indices
from m2t_fast.ops.cpu.launch import address, addresses, how, kernel, ready
from m2t_fast.ops.decode import DecoderWeights, SampleInputs, SearchInputs, SearchOutput
from m2t_fast.records import converted


def search(x: SearchInputs) -> SearchOutput:
    """The outputs of ``ops.search``, all of max_length words."""
    dtype, x = x.parts.dtype, converted(x, ready)
    layers = _layers(x.weights)
    batch, frames, part_count, _ = x.parts.shape
    tokens = torch.empty(batch, x.beam_size, x.max_length, dtype=torch.int64, device="cpu")
    scores = x.parts.new_empty(batch, x.beam_size)
    window, spatial, mean, std, gate = (
        x.parts.new_empty(batch, x.max_length, *shape) for shape in ((frames,), (frames, part_count), (), (), ())
    )
    kernel("decode_search", dtype)(
        options=[x.beam_size, x.max_length, PAD, SOS, EOS],
        length_penalty=x.length_penalty,
        outputs=addresses([tokens, scores, window, spatial, mean, std, gate]),
        **_arguments(x, layers, x.force_gate),
    )
    seen = (v.to(dtype) for v in (gate, window, spatial, mean, std))
    return SearchOutput(tokens, scores, *seen)


def sample_words(x: SampleInputs) -> Tensor:
    """The words of ``ops.sample_words``."""
    dtype, x = x.parts.dtype, converted(x, ready)
    layers, words = _layers(x.weights), x.words.clone()
    # Not left to the caller: the kernel reads a word's embedding. On the processor it costs nothing to look.
    checked_indices("sample_words: words", words, 0, len(x.weights.embedding) - 1)
    input_dropout, mixed_dropout = (None, None) if x.dropout is None else x.dropout
    coins = x.coins.cpu()
    kernel("decode_sample_words", dtype)(
        words=address(words),
        coins=address(coins),
        length=words.shape[1],
        input_dropout=addresses([input_dropout])[0],
        mixed_dropout=addresses([mixed_dropout])[0],
        **_arguments(x, layers, None),
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


def _arguments(x: SearchInputs | SampleInputs, layers: list[Tensor], force_gate: float | None) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    batch, frames, part_count, part_dim = x.parts.shape
    slots, attention_dim = x.temporal_keys.shape[2:]
    vocabulary, word = x.weights.embedding.shape
    hidden, mixture = x.weights.gate_hidden.shape[0], x.weights.mixture.shape[0]
    return dict(
        sizes=[batch, frames, part_count, slots, part_dim, attention_dim, hidden, word, mixture, vocabulary],
        memory=addresses([x.parts, x.temporal_keys, x.spatial_keys, x.lengths]),
        weights=addresses(layers),
        numbers=[x.scale, SIGMA_MIN, math.nan if force_gate is None else force_gate],
        **how(),
    )
