"""Gradients of keys, queries and weights from those of the scores: tiles that are full, and tiles that are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from m2t_fast.ops.triton import launch
from m2t_fast.ops.triton.attention import score_gradient

pytestmark = pytest.mark.interpreted


@pytest.fixture(params=["interpreter", "default"], autouse=True)
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes of tiles: the interpreter's, then a GPU's."""
    monkeypatch.setattr(launch, "assumed", request.param)


def drawn(frames: int, slots: int, words: int, dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Keys, query, a row of weights and gradients of the scores, float32."""
    draw = torch.Generator().manual_seed(frames + 10 * slots + 100 * words)
    sizes = (2, frames, slots, dim), (2, words, dim), (1, dim), (2, words, frames * slots)
    keys, query, weight, d_scores = (torch.randn(size, generator=draw) for size in sizes)
    return keys, query, weight, d_scores


def test_a_word_has_the_same_gradient_among_any_number_of_words() -> None:
    keys, query, weight, d_scores = drawn(4, 2, 49, 18)
    lengths = torch.tensor([4, 3])
    _, expected, _ = score_gradient(keys, query, weight, lengths, d_scores)
    for words in (1, 4, 8, 9, 16, 17, 24, 25):
        fewer = query[:, :words].contiguous(), weight, lengths, d_scores[:, :words].contiguous()
        assert torch.equal(score_gradient(keys, *fewer)[1], expected[:, :words])


def test_a_key_has_the_same_gradient_among_any_number_of_keys() -> None:
    keys, query, weight, d_scores = drawn(13, 3, 2, 18)
    expected, _, _ = score_gradient(keys, query, weight, torch.tensor([13, 12]), d_scores)
    for frames in (1, 3, 4, 5, 8):
        fewer = torch.full((2,), frames)
        found, _, _ = score_gradient(keys, query, weight, fewer, d_scores)
        assert torch.equal(found[:, :frames], expected[:, :frames]) and not found[:, frames:].any()
        few = keys[:, :frames].contiguous(), query, weight, fewer, d_scores[:, :, : 3 * frames].contiguous()
        assert torch.equal(score_gradient(*few)[0], expected[:, :frames])


@pytest.mark.parametrize("scale", [1.0, 100.0])  # 100: too large for pairs
@pytest.mark.parametrize(("frames", "slots", "words"), [(1, 1, 1), (5, 1, 30), (9, 6, 9), (3, 3, 3)])
def test_gradients_are_those_of_the_scores(frames: int, slots: int, words: int, scale: float) -> None:
    keys, query, weight, d_scores = drawn(frames, slots, words, 37)
    keys *= scale
    lengths = torch.tensor([frames, frames - 1])
    exact = [x.double().requires_grad_() for x in (keys, query, weight)]
    valid = (torch.arange(frames) < lengths[:, None]).repeat_interleave(slots, dim=1)[:, None]
    sums = torch.tanh(exact[0].flatten(1, 2)[:, None] + exact[1][:, :, None])
    expected = torch.autograd.grad(((sums @ exact[2][0]) * d_scores * valid).sum(), exact)
    d_scores[~valid.expand_as(d_scores)] = torch.nan  # padding is not read
    for made, wanted in zip(score_gradient(keys, query, weight, lengths, d_scores), expected, strict=True):
        torch.testing.assert_close(made.double(), wanted, rtol=1e-5, atol=2e-5)
