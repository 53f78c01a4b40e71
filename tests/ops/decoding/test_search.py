"""Greedy and beam search: against each other, against every possible caption, and what they return."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from m2t_fast import Captioner, CaptionerConfig, available_backends, use_backend
from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.ops.decoding.decoder import Decoder


@pytest.fixture(autouse=True, params=available_backends())
def on_every_backend(request):
    with torch.no_grad(), use_backend(request.param):
        yield


def tiny(vocab_size=9, seed=0, sharpness=4.0, scoring="part") -> Captioner:
    torch.manual_seed(seed)
    config = CaptionerConfig(
        vocab_size=vocab_size, joints=21, part_dim=4, attention_dim=6, hidden_size=6, embedding_dim=5, scoring=scoring
    )
    model = Captioner(config).double().eval()
    model.output.weight *= sharpness  # an untrained model says nearly the same everywhere
    model.bottom_lstm.weight_ih *= 2
    return model


def ending(seed: int) -> Captioner:
    """A model whose captions of ``motions(B=8, seed=3)`` end at different words."""
    model = tiny(seed=seed)
    for layer in (model.step.context, model.step.mixture, model.output):
        layer.weight.normal_()
    model.step.gate_hidden.bias += 5.0  # the motion, not the words before, decides what comes next
    return model


def motions(B=5, T=7, seed=1):
    g = torch.Generator().manual_seed(seed)
    motion = torch.randn(B, T, 21, 3, generator=g, dtype=torch.float64) * 2
    return motion, torch.randint(1, T + 1, (B,), generator=g)


def every_caption(vocab_size: int, max_length: int):
    words = [w for w in range(vocab_size) if w != EOS]
    for n in range(max_length):
        yield from ((*prefix, EOS) for prefix in itertools.product(words, repeat=n))
    yield from itertools.product(words, repeat=max_length)


def log_probability(model, motion, length, caption) -> float:
    tokens = torch.tensor([[SOS, *caption]])
    logits = model(motion[:1, :length], torch.tensor([length]), tokens).logits
    return float(logits.log_softmax(-1)[0].gather(-1, tokens[0, 1:, None]).sum())


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize(("seed", "sharpness"), [(0, 1.0), (1, 4.0), (2, 12.0)])
def test_a_beam_as_wide_as_the_vocabulary_finds_the_best_of_all_captions(seed, sharpness, penalty):
    model = tiny(vocab_size=5, seed=seed, sharpness=sharpness)
    motion, _ = motions(B=1)
    scores = {c: log_probability(model, motion, 7, c) / len(c) ** penalty for c in every_caption(5, 3)}
    best = max(scores, key=scores.__getitem__)
    found = model.generate(motion, torch.tensor([7]), beam_size=5, max_length=3, length_penalty=penalty)
    assert tuple(found.tokens[0, 0, : len(best)].tolist()) == best
    assert float(found.scores[0, 0]) == pytest.approx(scores[best], rel=1e-9)


def test_a_beam_wide_enough_for_all_returns_every_caption_in_order():
    model = tiny(vocab_size=4, sharpness=2.0)
    motion, _ = motions(B=1)
    scores = sorted((log_probability(model, motion, 7, c) / len(c) for c in every_caption(4, 3)), reverse=True)
    count = len(scores)
    found = model.generate(motion, torch.tensor([7]), beam_size=count + 5, max_length=3)
    torch.testing.assert_close(found.scores[0, :count], torch.tensor(scores, dtype=torch.float64))
    assert (found.scores[0, count:] == -math.inf).all()
    assert (found.tokens[0, count:] == PAD).all()


@pytest.mark.parametrize("scoring", ["part", "frame"])
@pytest.mark.parametrize("seed", range(4))
def test_beam_one_is_greedy_is_the_argmax_of_every_step(seed, scoring):
    model = tiny(seed=seed, scoring=scoring)
    motion, lengths = motions(seed=seed)
    found = model.generate(motion, lengths, beam_size=1, max_length=12)
    for n in range(len(motion)):
        words = [SOS]
        while len(words) <= 12 and words[-1] != EOS:
            tokens = torch.tensor([[*words, 0]])
            logits = model(motion[n : n + 1], lengths[n : n + 1], tokens).logits
            words.append(int(logits[0, -1].argmax()))
        assert [t for t in found.tokens[n, 0].tolist()][: len(words) - 1] == words[1:]


def test_scores_are_those_of_the_captions():
    model = tiny()
    motion, lengths = motions()
    found = model.generate(motion, lengths, beam_size=3, max_length=10, length_penalty=0.7)
    for n, k in itertools.product(range(5), range(3)):
        caption = found.tokens[n, k].tolist()
        caption = caption[: caption.index(EOS) + 1] if EOS in caption else caption
        tokens = torch.tensor([[SOS, *caption]])
        logits = model(motion[n : n + 1], lengths[n : n + 1], tokens).logits.log_softmax(-1)
        expected = float(logits[0].gather(-1, tokens[0, 1:, None]).sum()) / len(caption) ** 0.7
        assert float(found.scores[n, k]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_captions_are_sorted_distinct_and_padded_after_the_end(beam_size):
    found = tiny(seed=4).generate(*motions(B=7), beam_size=beam_size, max_length=11)
    assert found.tokens.shape[:2] == found.scores.shape == (7, beam_size)
    assert found.tokens.shape[2] <= 11 and found.tokens.dtype == torch.int64
    assert (found.scores.diff(dim=1) <= 0).all()
    for rows in found.tokens.tolist():
        assert len({tuple(r) for r in rows}) == beam_size
        for row in rows:
            if EOS in row:
                assert set(row[row.index(EOS) + 1 :]) <= {PAD}


@pytest.mark.parametrize("beam_size", [1, 3])
def test_batch_mates_change_nothing(beam_size):
    """Motions end at different words; those that stay must not notice who left."""
    model = ending(0)
    motion, lengths = motions(B=8, seed=3)
    together = model.generate(motion, lengths, beam_size=beam_size, max_length=9)
    ends = {row.index(EOS) if EOS in row else 9 for row in together.tokens[:, 0].tolist()}
    assert len(ends) > 1
    for n in range(8):
        alone = model.generate(motion[n : n + 1], lengths[n : n + 1], beam_size=beam_size, max_length=9)
        width = alone.tokens.shape[2]
        assert torch.equal(alone.tokens[0], together.tokens[n, :, :width])
        assert (together.tokens[n, :, width:] == PAD).all()
        torch.testing.assert_close(alone.scores[0], together.scores[n])


@pytest.mark.parametrize("beam_size", [1, 3])
def test_attention_of_every_word_is_that_of_the_parallel_pass(beam_size):
    model = tiny()
    motion, lengths = motions()
    found = model.generate(motion, lengths, beam_size=beam_size, max_length=8)
    best = found.tokens[:, 0]
    out = model(motion, lengths, torch.cat([torch.full_like(best[:, :1], SOS), best], dim=1))
    for n, row in enumerate(best.tolist()):
        words = row.index(EOS) + 1 if EOS in row else len(row)
        for name in ("gate", "window", "spatial", "mean", "std"):
            value = getattr(found.attention, name)[n]
            torch.testing.assert_close(value[:words], getattr(out, name)[n, :words])
            assert (value[words:] == 0).all()


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_forced_gate_is_used_and_returned(beam_size):
    model = tiny()
    motion, lengths = motions()
    found = model.generate(motion, lengths, beam_size=beam_size, max_length=6, force_gate=1.0)
    assert (found.attention.gate[:, 0] == 1.0).all()
    free = model.generate(motion, lengths, beam_size=beam_size, max_length=6)
    assert not torch.equal(found.scores, free.scores)
    model.step.language.weight.normal_()  # the language branch is out: changing it changes nothing
    again = model.generate(motion, lengths, beam_size=beam_size, max_length=6, force_gate=1.0)
    assert torch.equal(again.scores, found.scores)


def test_a_finished_motion_costs_nothing_more(monkeypatch):
    """Rows that reach the attention shrink as captions end, in the search that every backend can fall back on."""
    model = ending(0)
    rows = []
    original = Decoder.next_word

    def counted(self, memory, *arguments):
        rows.append(len(memory.lengths))
        return original(self, memory, *arguments)

    monkeypatch.setattr(Decoder, "next_word", counted)
    with use_backend("reference"):
        found = model.generate(*motions(B=8, seed=3), beam_size=1, max_length=9)
    words = [row.index(EOS) + 1 if EOS in row else 9 for row in found.tokens[:, 0].tolist()]
    assert len(set(words)) > 1 and sum(rows) == sum(words)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_an_empty_batch_and_the_shortest_caption(beam_size):
    motion, lengths = motions()
    none = tiny().generate(motion[:0], lengths[:0], beam_size=beam_size)
    assert none.tokens.shape[:2] == (0, beam_size)
    one = tiny().generate(motion, lengths, beam_size=beam_size, max_length=1)
    assert one.tokens.shape == (5, beam_size, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(beam_size=0), ValueError, "beam_size: got 0"),
        (dict(beam_size=2.0), TypeError, "beam_size must be an int, got float"),
        (dict(max_length=-3), ValueError, "max_length: got -3"),
        (dict(length_penalty=-1.0), ValueError, "length_penalty: got -1.0"),
        (dict(length_penalty=float("nan")), ValueError, "length_penalty: got nan"),
        (dict(force_gate=2.0), ValueError, "force_gate: got 2.0"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        tiny().generate(*motions(), **arguments)
