"""Rows of the smoke for whole captions: searches and sampled words against the reference in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from gpu_smoke_groups import HUMANML3D, Row
from torch import Tensor

from m2t_fast import ops, use_backend
from m2t_fast.ops.cases import DecodeCase
from m2t_fast.ops.decode import DecoderWeights, greedy_words

WORDS = 6
NEAR_TIES = 0.15
"""Share of motions whose words near ties may decide."""


def inputs_of(case: DecodeCase, dtype: torch.dtype, device: str) -> tuple[list[Tensor], DecoderWeights]:
    """Memory, and weights of a trained model's size."""
    weights = (w / max(1.0, w.shape[-1] / 16) ** 0.5 if w.dim() > 1 else w for w in case.weights(torch.float32, 1))
    memory = [x.to(device) for x in case.memory(dtype)]
    return memory, DecoderWeights(*(w.to(device, dtype) for w in weights))


def doubled(memory: list[Tensor], weights: DecoderWeights) -> tuple[list[Tensor], DecoderWeights]:
    """The same in float64."""
    memory = [x.double() if x.is_floating_point() else x for x in memory]
    return memory, DecoderWeights(*(w.double() for w in weights))


def decoding_rows(device: str, large: bool) -> Iterator[Row]:
    """Greedy and beam search from one motion to more than the device holds at a time, and sampled words."""
    sizes: dict[str, Any] = HUMANML3D if large else {}
    batches = ((1, 1), (1, 10), (7, 2), (64, 2), *(((600, 2),) if large else ()))
    if device == "cpu":
        sizes, batches = {}, ((2, 2),)
    dtypes = (torch.float32, torch.bfloat16) if device != "cpu" or large else (torch.float32,)
    for dtype in dtypes:
        short = str(dtype).removeprefix("torch.")
        for s in (6, 1) if device != "cpu" else (6,):
            for batch, beams in batches:
                case = DecodeCase(B=batch, S=s, end=2.0, **sizes)
                title = f"search B={batch} K={beams} S={s} {short}"
                yield Row(title, lambda case=case, beams=beams, dtype=dtype: _search(case, beams, dtype, device))
        case = DecodeCase(B=2 if device == "cpu" else 12, **sizes)
        yield Row(f"sample_words {short}", lambda case=case, dtype=dtype: _sample(case, dtype, device))
        yield Row(f"greedy_words {short}", lambda case=case, dtype=dtype: _greedy(case, dtype, device))


def _search(case: DecodeCase, beams: int, dtype: torch.dtype, device: str) -> tuple[float, float]:
    """The share of motions with other words whose scores differ, too; near ties decide some of many."""
    inputs = inputs_of(case, dtype, device)
    with use_backend("reference"):
        memory, weights = doubled(*inputs)
        exact = ops.search(*memory, weights, beam_size=beams, max_length=WORDS)
    memory, weights = inputs
    with use_backend("cuda"):
        found = ops.search(*memory, weights, beam_size=beams, max_length=WORDS)
    if not bool(found.scores.isfinite().all()):
        return float("inf"), 0.0
    width = min(found.tokens.shape[2], exact.tokens.shape[2])
    other = (found.tokens[:, 0, :width] != exact.tokens[:, 0, :width]).any(-1)
    apart = (found.scores[:, 0].double() - exact.scores[:, 0]).abs() > 1e-4
    return float((other & apart).float().mean()), NEAR_TIES if case.B > 1 else 0.0


def _sample(case: DecodeCase, dtype: torch.dtype, device: str) -> tuple[float, float]:
    memory, weights = inputs_of(case, dtype, device)
    words, coins, dropout = case.sampling(9, dtype).values()
    words, coins, dropout = words.to(device), coins.to(device), tuple(x.to(device) for x in dropout)
    with use_backend("cuda"):
        found = ops.sample_words(*memory, weights, words, coins, dropout)
    with use_backend("reference"):
        memory, weights = doubled(memory, weights)
        exact = ops.sample_words(*memory, weights, words, coins, tuple(x.double() for x in dropout))
    return float((found != exact).any(-1).float().mean()), 0.2


def _greedy(case: DecodeCase, dtype: torch.dtype, device: str) -> tuple[float, float]:
    """What a captured validation decodes: all words, whatever ends."""
    memory, weights = inputs_of(case, dtype, device)
    with use_backend("cuda"):
        found = greedy_words(*memory, weights, max_length=WORDS, ends=False)
    with use_backend("reference"):
        memory, weights = doubled(memory, weights)
        exact = greedy_words(*memory, weights, max_length=WORDS, ends=False)
    return float((found != exact).any(-1).float().mean()), 0.2
