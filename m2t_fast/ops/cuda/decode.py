"""Launches ``search`` and ``sample_words``: whole captions in one launch each, and one that arranges the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SIGMA_MIN, SOS
from m2t_fast.ops.capability import capability
from m2t_fast.ops.cuda.launch import address, addresses, ready, run
from m2t_fast.ops.decode import SampleInputs, SearchInputs, SearchOutput
from m2t_fast.records import converted

LARGEST_BEAM, MOST_PARTS = 1024, 2048
"""A wider beam or more body parts do not fit into a block's shared memory."""


def search_takes(x: SearchInputs) -> str | None:
    """Beams and parts that fit into a block's shared memory."""
    if x.beam_size > LARGEST_BEAM:
        return f"a beam of {x.beam_size} does not fit into a block's shared memory, up to {LARGEST_BEAM} do"
    return sample_words_takes(x)


def sample_words_takes(x: SampleInputs | SearchInputs) -> str | None:
    """Parts that fit into a block's shared memory."""
    if x.parts.is_cuda and capability(x.parts.device.index) < (8, 0):
        return "decoding takes more shared memory than a block has before compute capability 8.0"
    parts = x.parts.shape[2]
    return None if parts <= MOST_PARTS else f"{parts} parts do not fit into a block's shared memory"


def search(x: SearchInputs) -> SearchOutput:
    """The outputs of ``ops.search``, all of max_length words."""
    dtype, x = x.parts.dtype, converted(x, ready)
    batch, frames, part_count, _ = x.parts.shape
    tokens = x.lengths.new_empty(batch, x.beam_size, x.max_length)
    scores = x.parts.new_empty(batch, x.beam_size, dtype=torch.float32)
    window, spatial, mean, std, gate = (
        x.parts.new_empty(batch, x.max_length, *shape) for shape in ((frames,), (frames, part_count), (), (), ())
    )
    _launch(
        "search",
        x,
        counts=[x.beam_size, x.max_length, PAD, SOS, EOS],
        numbers=[x.length_penalty, x.scale, SIGMA_MIN, math.nan if x.force_gate is None else x.force_gate],
        outputs=addresses([tokens, scores, window, spatial, mean, std, gate]),
    )
    return SearchOutput(tokens, scores, *(v.to(dtype) for v in (gate, window, spatial, mean, std)))


def sample_words(x: SampleInputs) -> Tensor:
    """The words of ``ops.sample_words``. Nothing waits for the device: it may be captured in a CUDA graph."""
    x = converted(x, ready)
    words, coins = x.words.clone(), x.coins.to(x.parts.device)
    _launch(
        "sample_words",
        x,
        counts=[1, words.shape[1], PAD, SOS, EOS],
        numbers=[0.0, x.scale, SIGMA_MIN, math.nan],
        inputs=addresses([words, coins, *((None, None) if x.dropout is None else x.dropout)]),
    )
    return words


def _launch(op: str, x: SearchInputs | SampleInputs, counts: list[int], **arguments: Any) -> None:
    """Plans, takes scratch from torch and launches; the caller holds the tensors."""
    batch, frames, part_count, part_dim = x.parts.shape
    slots, attention_dim = x.temporal_keys.shape[2:]
    vocabulary, word = x.weights.embedding.shape
    hidden, mixture = x.weights.gate_hidden.shape[0], x.weights.mixture.shape[0]
    beams, words, *_ = counts
    if batch == 0 or words == 0:
        return
    sizes = [batch, frames, part_count, slots, part_dim, attention_dim, hidden, word, mixture, vocabulary]
    named = dict(zip("BTPSHDCEMV", sizes, strict=True), K=beams, W=words)
    plan = run(
        op, "plan_decode", x.parts, named, sizes=sizes, beams=beams, max_length=words, sampling=op == "sample_words"
    )
    scratch = torch.empty(plan[-1], dtype=torch.uint8, device=x.parts.device)
    run(
        op,
        f"decode_{op}",
        x.parts,
        named,
        sizes=sizes,
        memory=addresses([x.parts, x.temporal_keys, x.spatial_keys, x.lengths]),
        weights=addresses(x.weights),
        counts=counts,
        plan=plan,
        scratch=address(scratch),
        **arguments,
    )
