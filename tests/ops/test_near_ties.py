"""What the GPU tests take for a near tie, on searches whose weights make one."""

from __future__ import annotations

import pytest
import torch
from near_ties import near_ties
from torch import Tensor

from m2t_fast import ops, use_backend
from m2t_fast.ops.cases import DecodeCase
from m2t_fast.ops.decode import DecoderWeights, SearchOutput

CASE = DecodeCase(B=6, end=-1e4)


def searched(beam_size: int = 1) -> tuple[SearchOutput, list[Tensor], DecoderWeights]:
    """A search in which word 4 is word 5's twin, and its inputs."""
    memory, weights = CASE.memory(), CASE.weights()
    weights.output[4] = weights.output[5]
    weights.embedding[4] = weights.embedding[5]
    weights.output_bias[4:6] = 3.0
    with use_backend("reference"):
        return ops.search(*memory, weights, beam_size=beam_size, max_length=5), memory, weights


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_same_captions_are_no_ties(beam_size: int) -> None:
    exact, memory, weights = searched(beam_size)
    assert not near_ties(exact, exact, memory, weights).any()


def test_equally_likely_words_are_one_and_others_are_not() -> None:
    exact, memory, weights = searched()
    twins = exact.tokens.clone()
    twins[twins == 4] = 5
    assert (twins != exact.tokens).any()
    apart = exact.scores - 1.0  # so that the words decide
    tied = near_ties(exact._replace(tokens=twins, scores=apart), exact, memory, weights)
    assert torch.equal(tied, (twins != exact.tokens).flatten(1).any(1))
    wrong = exact.tokens.clone()
    wrong[:, 0, 0] = (wrong[:, 0, 0] + 3) % CASE.V
    assert not near_ties(exact._replace(tokens=wrong, scores=apart), exact, memory, weights).all()


def test_hypotheses_of_equal_scores_may_change_places() -> None:
    exact, memory, weights = searched(3)
    swapped = exact._replace(tokens=exact.tokens.flip(1))
    assert near_ties(swapped, exact, memory, weights).all()
    assert not near_ties(swapped._replace(scores=exact.scores - 1e-2), exact, memory, weights).any()
