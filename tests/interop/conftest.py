"""A small captioner and a batch for it, for tests beside other libraries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from m2t_fast import Captioner, CaptionerConfig

SIZES = dict(joints=21, part_dim=16, attention_dim=12, hidden_size=20, embedding_dim=8)


@pytest.fixture(params=["part", "frame"])
def model(request: pytest.FixtureRequest) -> Captioner:
    """An untrained captioner in evaluation mode whose captions differ between motions."""
    torch.manual_seed(5)
    made = Captioner(CaptionerConfig(vocab_size=30, scoring=request.param, **SIZES)).eval()
    with torch.no_grad():
        made.embedding.weight.mul_(2.0)
        made.output.weight.mul_(8.0)
        made.attention.temporal_weight.mul_(20.0)
        made.attention.spatial_weight.mul_(20.0)
    return made


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Motion (3, 9, 21, 3), lengths and tokens (3, 7)."""
    g = torch.Generator().manual_seed(7)
    motion = torch.randn(3, 9, 21, 3, generator=g)
    tokens = torch.randint(4, 30, (3, 7), generator=g)
    tokens[:, 0] = 1
    return motion, torch.tensor([9, 4, 1]), tokens


@pytest.fixture
def said() -> Callable[..., list[Tensor]]:
    """``said(model, batch)``: what a model says about a batch by every road: forward, scheduled sampling, searches;
    ``more``: options of other searches."""

    def run(model: Captioner, batch: tuple[Tensor, Tensor, Tensor], *more: dict[str, object]) -> list[Tensor]:
        motion, lengths, tokens = batch
        with torch.no_grad():
            known, own = (model(motion, lengths, tokens, teacher_forcing=p) for p in (1.0, 0.0))
            found = [known.logits, known.gate, own.logits, own.words]
            for options in (dict(beam_size=1), dict(beam_size=3, force_gate=0.7), *more):
                result = model.generate(motion, lengths, max_length=6, **options)
                found += [result.tokens, result.scores, result.attention.spatial, result.attention.gate]
            # What comes after <eos> is not to be read.
            words = model.greedy_words(motion, lengths)
            ended = (words == 2).cumsum(1) - (words == 2).int() > 0
            return [*found, words.masked_fill(ended, 0)]

    return run
