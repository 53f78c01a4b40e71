"""Captioning a data set: order, batching, n-best lists, and the model left as it was."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.captioner import Captioner
from m2t_fast.captioning.padding import padded_batches
from m2t_fast.captioning.pipeline import caption_motions, generate_batches, hypotheses_of
from m2t_fast.data.batches import motion_batches
from m2t_fast.data.dataset import Prepared


def test_every_motion_in_the_order_of_the_data_set(model: Captioner, data: Prepared) -> None:
    dataset = data["test"]
    captions = caption_motions(model, dataset, data.vocabulary, beam_size=2, batch_size=3, max_length=7)
    assert len(captions) == dataset.motions
    assert len({best.caption for best, *_ in captions}) > 1
    for number, found in enumerate(captions):
        motion = dataset.motion(number)
        alone = model.generate(motion[None], torch.tensor([len(motion)]), beam_size=2, max_length=7)
        assert [h.caption for h in found] == [data.vocabulary.decode(tokens) for tokens in alone.tokens[0]]
        assert [h.score for h in found] == pytest.approx(alone.scores[0].tolist(), rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_batch_size_changes_nothing(model: Captioner, data: Prepared, batch_size: int) -> None:
    expected = caption_motions(model, data["test"], data.vocabulary, batch_size=64, max_length=7)
    found = caption_motions(model, data["test"], data.vocabulary, batch_size=batch_size, max_length=7)
    assert [[h.caption for h in captions] for captions in found] == [[h.caption for h in c] for c in expected]


def test_best_first_and_only_captions_that_exist(model: Captioner, data: Prepared) -> None:
    words = len(data.vocabulary)
    # With one word to say, there are fewer captions than beams.
    captions = caption_motions(model, data["val"], data.vocabulary, beam_size=words + 5, max_length=1)
    for found in captions:
        scores = [hypothesis.score for hypothesis in found]
        assert len(found) == words and scores == sorted(scores, reverse=True)
        assert all(score > float("-inf") for score in scores)


def test_options_reach_the_search(model: Captioner, data: Prepared) -> None:
    greedy = caption_motions(model, data["test"], data.vocabulary, max_length=3)
    assert all(len(best.caption.split()) <= 3 for best, *_ in greedy)
    other = caption_motions(model, data["test"], data.vocabulary, max_length=3, length_penalty=0.0)
    assert [b.score for b, *_ in other] != pytest.approx([b.score for b, *_ in greedy])
    forced = caption_motions(model, data["test"], data.vocabulary, max_length=3, force_gate=0.0)
    assert [b.score for b, *_ in forced] != pytest.approx([b.score for b, *_ in greedy])
    with pytest.raises(ValueError, match="batch_size: got 0"):
        caption_motions(model, data["test"], data.vocabulary, batch_size=0)
    with pytest.raises(ValueError, match="beam_size: got 0"):
        caption_motions(model, data["test"], data.vocabulary, beam_size=0)


def test_the_mode_of_the_model_is_restored(model: Captioner, data: Prepared) -> None:
    modes: list[bool] = []
    model.register_forward_pre_hook(lambda *_: None)
    model.encoder.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    for training in (True, False):
        model.train(training)
        caption_motions(model, data["val"], data.vocabulary, max_length=2)
        assert model.training is training and model.embedding.training is training
        with pytest.raises(ValueError):
            caption_motions(model, data["val"], data.vocabulary, max_length=0)
        assert model.training is training
    assert modes and not any(modes)


def test_a_model_in_double_precision(model: Captioner, data: Prepared) -> None:
    batches = motion_batches(data["val"], 64)
    _, found = next(generate_batches(model.double(), batches, beam_size=2, max_length=3))
    assert found.scores.dtype == found.attention.window.dtype == torch.float64
    assert len(hypotheses_of(found, 0, data.vocabulary)) == 2


@given(
    lengths=st.lists(st.integers(1, 30), max_size=12), batch_size=st.integers(1, 5), most=st.none() | st.integers(1, 60)
)
def test_padded_batches(lengths: list[int], batch_size: int, most: int | None) -> None:
    """Every motion once, shortest first, whole and padded with 0, in batches within both bounds."""
    motions = [torch.randn(length, 21, 3) for length in lengths]
    batches = list(padded_batches(motions, batch_size, most))
    order = [number for batch in batches for number in batch.index.tolist()]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[number] for number in order] == sorted(lengths)
    for batch in batches:
        rows, frames = batch.motion.shape[:2]
        assert rows <= batch_size and (most is None or rows == 1 or rows * frames <= most)
        assert frames == int(batch.lengths.max())
        for row, number in enumerate(batch.index.tolist()):
            length = int(batch.lengths[row])
            assert torch.equal(batch.motion[row, :length], motions[number])
            assert not batch.motion[row, length:].any()
