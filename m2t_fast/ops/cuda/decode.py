"""Launches ``search`` and ``sample_words``: whole captions in one launch each, and one that arranges the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SIGMA_MIN, SOS
from m2t_fast.ops.backends import reference
from m2t_fast.ops.cuda.launch import addresses, ready, run, stored
from m2t_fast.ops.decode import DecoderWeights

LARGEST_BEAM, MOST_PARTS = 1024, 2048
"""A wider beam or more body parts do not fit into a block's shared memory: ``reference`` decodes them."""


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
    if beam_size > LARGEST_BEAM or parts.shape[2] > MOST_PARTS:
        arguments = (parts, temporal_keys, spatial_keys, lengths, weights)
        return reference.search(*arguments, beam_size, max_length, length_penalty, force_gate, scale)
    batch, frames, part_count, _ = parts.shape
    memory = [*(ready(x) for x in (parts, temporal_keys, spatial_keys)), lengths.contiguous()]
    inputs = [ready(x) for x in weights]
    dtype, device = stored(parts.dtype), parts.device
    tokens = torch.empty(batch, beam_size, max_length, dtype=torch.int64, device=device)
    scores = torch.empty(batch, beam_size, dtype=torch.float32, device=device)
    shapes = ((frames,), (frames, part_count), (), (), ())
    attention = [torch.empty(batch, max_length, *shape, dtype=dtype, device=device) for shape in shapes]
    _launch(
        "search",
        memory,
        inputs,
        counts=[beam_size, max_length, PAD, SOS, EOS],
        numbers=[length_penalty, scale, SIGMA_MIN, math.nan if force_gate is None else force_gate],
        outputs=addresses([tokens, scores, *attention]),
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
    """The words of ``ops.sample_words``. Nothing waits for the device: it may be captured in a CUDA graph."""
    if parts.shape[2] > MOST_PARTS:
        arguments = (parts, temporal_keys, spatial_keys, lengths, weights)
        return reference.sample_words(*arguments, words, coins, input_dropout, mixed_dropout, scale)
    memory = [*(ready(x) for x in (parts, temporal_keys, spatial_keys)), lengths.contiguous()]
    inputs = [ready(x) for x in weights]
    words, coins = words.clone(memory_format=torch.contiguous_format), coins.contiguous()
    dropout = [x if x is None else ready(x) for x in (input_dropout, mixed_dropout)]
    _launch(
        "sample_words",
        memory,
        inputs,
        counts=[1, words.shape[1], PAD, SOS, EOS],
        numbers=[0.0, scale, SIGMA_MIN, math.nan],
        inputs=addresses([words, coins, *dropout]),
    )
    return words


def _launch(op: str, memory: list[Tensor], weights: list[Tensor], counts: list[int], **arguments: Any) -> None:
    """Plans, takes scratch from torch and launches; the caller holds the tensors."""
    parts, temporal_keys, *_ = memory
    w = DecoderWeights(*weights)
    batch, frames, part_count, part_dim = parts.shape
    slots, attention_dim = temporal_keys.shape[2:]
    vocabulary, word = w.embedding.shape
    hidden, mixture = w.gate_hidden.shape[0], w.mixture.shape[0]
    beams, words, *_ = counts
    if batch == 0 or words == 0:
        return
    sizes = [batch, frames, part_count, slots, part_dim, attention_dim, hidden, word, mixture, vocabulary]
    named = dict(zip("BTPSHDCEMV", sizes, strict=True), K=beams, W=words)
    plan = run(
        op, "plan_decode", parts, named, sizes=sizes, beams=beams, max_length=words, sampling=op == "sample_words"
    )
    scratch = torch.empty(plan[-1], dtype=torch.uint8, device=parts.device)
    run(
        op,
        f"decode_{op}",
        parts,
        named,
        sizes=sizes,
        memory=addresses(memory),
        weights=addresses(weights),
        counts=counts,
        plan=plan,
        scratch=scratch.data_ptr(),
        **arguments,
    )
