"""Launches ``search`` and ``sample_words``: whole captions in one call each."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SIGMA_MIN, SOS
from m2t_fast.ops.checks import checked_indices
from m2t_fast.ops.cpu.launch import ready, run
from m2t_fast.ops.cpu.linear import arithmetic
from m2t_fast.ops.decode import DecoderWeights, SampleInputs, SearchInputs, SearchOutput, decode_sizes
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
    words = dict(pad=PAD, start=SOS, end=EOS)
    run(
        "decode_search",
        scores.dtype,
        options=dict(beams=x.beam_size, max_length=x.max_length, length_penalty=x.length_penalty, **words),
        outputs=SearchOutput(tokens, scores, gate, window, spatial, mean, std),
        **_arguments(x, layers, x.force_gate),
    )
    seen = (v.to(dtype) for v in (gate, window, spatial, mean, std))
    return SearchOutput(tokens, scores, *seen)


def sample_words(x: SampleInputs) -> Tensor:
    """The words of ``ops.sample_words``."""
    x = _ready_to_sample(x)
    layers, words = _layers(x.weights), x.words.clone()
    # Not left to the caller: the kernel reads a word's embedding. On the processor it costs nothing to look.
    checked_indices("sample_words: words", words, 0, len(x.weights.embedding) - 1)
    input_dropout, mixed_dropout = (None, None) if x.dropout is None else x.dropout
    coins = x.coins.cpu()
    inputs = dict(
        words=words,
        coins=coins,
        length=words.shape[1],
        input_dropout=input_dropout,
        mixed_dropout=mixed_dropout,
    )
    run("decode_sample_words", x.parts.dtype, inputs=inputs, **_arguments(x, layers, None))
    return words


def _layers(w: DecoderWeights) -> dict[str, Tensor]:
    """The weights as the kernels take them: weights that multiply the same input, or are summed, become one layer."""
    layers = dict(
        bottom=torch.cat([w.bottom_input, w.bottom_hidden], dim=1),
        bottom_bias=w.bottom_input_bias + w.bottom_hidden_bias,
        top=torch.cat([w.top_input, w.top_hidden], dim=1),
        top_bias=w.top_input_bias + w.top_hidden_bias,
        query=torch.cat([w.temporal_query, w.spatial_query]),
        query_bias=torch.cat([w.temporal_query_bias, w.spatial_query_bias]),
    )
    return {**w._asdict(), **layers}


_MULTIPLIED = {
    "bottom_input",
    "bottom_hidden",
    "top_input",
    "top_hidden",
    "temporal_query",
    "spatial_query",
    "context",
    "language",
    "mixture",
    "output",
}


def _ready_to_sample(x: SampleInputs) -> SampleInputs:
    """As the kernel takes them: in bfloat16, where the processor multiplies it, memory and what is multiplied."""
    w = x.weights
    hidden, terms = w.bottom_hidden.shape[1], [w.context.shape[1], w.mixture.shape[1], w.output.shape[1]]
    short = arithmetic(x.parts.dtype, [hidden, w.bottom_input.shape[1], *terms]) == torch.bfloat16
    made: SampleInputs = converted(x, ready if not short else lambda v: v.contiguous() if v.dim() > 1 else ready(v))
    if not short:
        return made
    weights: dict[str, Tensor] = {
        name: v if name in _MULTIPLIED else ready(v) for name, v in made.weights._asdict().items()
    }
    dropout = None if made.dropout is None else (ready(made.dropout[0]), ready(made.dropout[1]))
    return made._replace(weights=DecoderWeights(**weights), dropout=dropout)


def _arguments(x: SearchInputs | SampleInputs, layers: dict[str, Tensor], force_gate: float | None) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    return dict(
        sizes=decode_sizes(x),
        memory=x,
        weights=layers,
        numbers=dict(scale=x.scale, sigma_min=SIGMA_MIN, force_gate=math.nan if force_gate is None else force_gate),
    )
