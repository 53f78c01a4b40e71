"""Launches ``search`` and ``sample_words``: whole captions in one launch each, and one that arranges the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SIGMA_MIN, SOS
from m2t_fast.extension import record
from m2t_fast.ops.capability import capability
from m2t_fast.ops.cuda.launch import extension, ready, run
from m2t_fast.ops.decode import SampleInputs, SearchInputs, SearchOutput, decode_sizes
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
        _options(x, x.beam_size, x.max_length, length_penalty=x.length_penalty, force_gate=x.force_gate),
        outputs=SearchOutput(tokens, scores, gate, window, spatial, mean, std),
    )
    return SearchOutput(tokens, scores, *(v.to(dtype) for v in (gate, window, spatial, mean, std)))


def sample_words(x: SampleInputs) -> Tensor:
    """The words of ``ops.sample_words``. Nothing waits for the device: it may be captured in a CUDA graph."""
    x = converted(x, ready)
    words, coins = x.words.clone(), x.coins.to(x.parts.device)
    input_dropout, mixed_dropout = (None, None) if x.dropout is None else x.dropout
    inputs = dict(words=words, coins=coins, input_dropout=input_dropout, mixed_dropout=mixed_dropout)
    _launch("sample_words", x, _options(x, 1, words.shape[1]), inputs=inputs)
    return words


def _options(
    x: Any, beams: int, max_length: int, length_penalty: float = 0.0, force_gate: float | None = None
) -> dict[str, Any]:
    return dict(
        beams=beams,
        max_length=max_length,
        pad=PAD,
        start=SOS,
        end=EOS,
        length_penalty=length_penalty,
        scale=x.scale,
        sigma_min=SIGMA_MIN,
        force_gate=math.nan if force_gate is None else force_gate,
    )


def _launch(op: str, x: SearchInputs | SampleInputs, options: dict[str, Any], **arguments: Any) -> None:
    """Plans, takes scratch from torch and launches; the caller holds the tensors."""
    beams, words = options["beams"], options["max_length"]
    sizes = decode_sizes(x)
    if sizes["batch"] == 0 or words == 0:
        return
    named = dict(zip("BTPSHDCEMV", sizes.values(), strict=True), K=beams, W=words)
    planned = dict(sizes=sizes, beams=beams, max_length=words, sampling=op == "sample_words")
    plan = record(extension(), "DecodePlan").unpacked(run(op, "plan_decode", x.parts, named, **planned))
    scratch = torch.empty(plan["bytes"], dtype=torch.uint8, device=x.parts.device)
    run(
        op,
        f"decode_{op}",
        x.parts,
        named,
        sizes=sizes,
        memory=x,
        weights=x.weights,
        options=options,
        plan=plan,
        scratch=dict(data=scratch),
        **arguments,
    )
