"""Every way to compute a case gives what the equations give, and what is wrong is called wrong."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from m2t_fast import reference
from m2t_fast.benchmarking import BASELINES, CASES, SIZES, Case, case_of, op_case, ways_on
from m2t_fast.benchmarking.case import COMPILE, LOOP
from m2t_fast.benchmarking.results import Results, why_wrong
from m2t_fast.benchmarking.sizes import training_batch
from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.modules import SpatioTemporalAttention
from m2t_fast.ops.reference import attention as backend

CPU = torch.device("cpu")
TINY = SIZES["tiny"]
EAGER = [way for way in ways_on(CPU) if way != COMPILE]


def tiny(name: str, scoring: str = "part", backward: bool = True) -> Case:
    return case_of(name, TINY, scoring, CPU, backward)


@pytest.mark.parametrize("scoring", ["part", "frame"])
@pytest.mark.parametrize("name", CASES)
def test_every_way_gives_the_truth(name, scoring):
    case = tiny(name, scoring)
    truth = case.truth()
    for way in EAGER:
        if case.inapplicable(way) is None:
            run = case.prepare(way)
            assert case.why_wrong(run(), truth) is None, way
            assert case.why_wrong(run(), truth) is None, f"{way}, a second time"


def test_forward_alone_gives_no_gradient():
    case = tiny("spatio_temporal_attention", backward=False)
    truth = case.truth()
    assert truth.gradients == {} and set(truth.outputs) == {"context", "window", "spatial", "mean", "std"}
    for way in EAGER:
        assert case.why_wrong(case.prepare(way)(), truth) is None, way


@pytest.mark.slow
def test_the_compiled_way(quick_compiler):
    case = tiny("gated_decoder_step")
    assert case.why_wrong(case.prepare(COMPILE)(), case.truth()) is None


@pytest.mark.parametrize("name", ["spatio_temporal_attention", "gated_decoder_step", "part_encoder"])
def test_the_truth_does_not_depend_on_how_many_motions_it_takes_at_a_time(name, monkeypatch):
    whole = tiny(name).truth()
    monkeypatch.setattr(op_case, "_LARGEST_CHUNK", 1)
    monkeypatch.setattr(op_case.OpCase, "elements", TINY.batch)  # so that one motion is a chunk, in every op
    case = tiny(name)
    case.elements = TINY.batch
    pieces = case.truth()
    for mine, right in zip(pieces, whole, strict=True):
        assert mine.keys() == right.keys()
        for key in right:
            torch.testing.assert_close(mine[key], right[key], rtol=1e-12, atol=1e-12)


def test_the_gradient_of_every_float_input_is_compared():
    gradients = {name: set(tiny(name).truth().gradients) for name in ("spatio_temporal_attention", "part_encoder")}
    assert len(gradients["spatio_temporal_attention"]) == 8 and "d_parts" in gradients["spatio_temporal_attention"]
    assert gradients["part_encoder"] == {"d_weight1", "d_bias1", "d_weight2", "d_bias2"}
    model = dict(tiny("training_step").truth().gradients)
    assert {"embedding.weight", "encoder.weight1", "attention.spatial_weight", "step.gate_hidden.bias"} <= set(model)


@pytest.mark.parametrize(("scoring", "keys"), [("part", 6), ("frame", 1)])
def test_tanh_are_counted_over_valid_frames(scoring, keys):
    case = tiny("spatio_temporal_attention", scoring)
    frames = int(case.inputs.tensors[-1].sum())
    assert TINY.batch < frames < TINY.batch * TINY.frames
    assert case.tanh == frames * keys * TINY.words * TINY.config.attention_dim * 2
    assert case.elements == TINY.batch * TINY.frames * keys * TINY.words * TINY.config.attention_dim
    assert tiny("part_encoder").tanh == tiny("part_encoder").elements == 0


def test_not_every_way_is_one_for_every_case():
    assert tiny("part_encoder").inapplicable(LOOP) and tiny("beam").inapplicable(COMPILE)
    assert all(tiny("training_step").inapplicable(way) is None for way in ways_on(CPU))
    with pytest.raises(ValueError, match="name: got 'lstm', expected one of spatio"):
        tiny("lstm")


def test_the_ways_of_a_device():
    assert ways_on(CPU)[: len(BASELINES)] == tuple(BASELINES) == ("loop", "plain", "compile")
    assert "reference" in ways_on(CPU) and "reference" in ways_on(torch.device("cuda"))
    assert "cpu" not in ways_on(torch.device("cuda"))


@pytest.mark.parametrize("name", ["spatio_temporal_attention", "training_step", "greedy", "beam"])
def test_a_wrong_value_of_a_backend_is_found(name, monkeypatch):
    right = backend.spatio_temporal_attention
    monkeypatch.setattr(
        backend,
        "spatio_temporal_attention",
        lambda x: (out := right(x))._replace(context=out.context.roll(1, dims=0) * 3),
    )
    case = tiny(name)
    assert case.why_wrong(case.prepare("reference")(), case.truth()) is not None
    assert case.why_wrong(case.prepare("plain")(), case.truth()) is None


@pytest.mark.parametrize("name", ["spatio_temporal_attention", "training_step"])
def test_a_wrong_gradient_of_a_backend_is_found(name, monkeypatch):
    right = backend.spatio_temporal_attention_backward

    def wrong(*arguments):
        found = right(*arguments)
        return {**found, "spatial_keys": found["spatial_keys"] * 1.01}

    monkeypatch.setattr(backend, "spatio_temporal_attention_backward", wrong)
    case = tiny(name)
    reason = case.why_wrong(case.prepare("reference")(), case.truth())
    assert reason is not None and ("d_spatial_keys" in reason or name == "training_step")


def test_a_gradient_of_the_wrong_length_is_found(monkeypatch):
    """Clipping would hide a factor that all gradients share, so nothing may be clipped."""
    case = tiny("training_step")
    run, truth = case.prepare("plain"), case.truth()
    found = run()
    longer = Results(found.outputs, {name: 1.1 * x for name, x in found.gradients.items()})
    assert case.why_wrong(longer, truth) is not None


def results(output=None, gradient=None, words=None):
    ones = torch.ones(3)
    return Results(
        {"a": ones if output is None else output, "words": torch.arange(3) if words is None else words},
        {"d_b": ones if gradient is None else gradient, "d_small": torch.full((2,), 1e-9)},
    )


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (results(), None),
        (results(output=torch.ones(3) + 9e-4), None),
        (results(output=torch.ones(3) + 2e-3), "a differs by 2.0e-03 of its largest value, allowed 1e-03"),
        (results(output=torch.tensor([1.0, torch.nan, 1.0])), "a differs by inf"),
        (results(output=torch.ones(2)), r"a has shape \(2,\), expected \(3,\)"),
        (results(gradient=torch.ones(3) * 0.99), "d_b differs by 1.0e-02"),
        (results(words=torch.tensor([0, 1, 3])), "words differs by inf"),
        (Results({"a": torch.ones(3)}, {}), "it gives a, expected a, words"),
        (results()._replace(gradients={"d_b": torch.ones(3), "d_small": torch.zeros(2)}), None),
    ],
)
def test_what_is_wrong(found, reason):
    given = why_wrong(found, results())
    if reason is None:
        assert given is None
    else:
        import re

        assert re.match(reason, given)


def test_captions_may_differ_where_two_all_but_tie(monkeypatch):
    size = dataclasses.replace(TINY, motions=20)
    case = case_of("greedy", size, "part", CPU)
    truth = case.truth()

    def altered(rows: int, score: float) -> Results:
        tokens, scores = truth.outputs["tokens"].clone(), truth.outputs["scores"].clone()
        tokens[:rows, 0, -1] = (tokens[:rows, 0, -1] + 1) % TINY.config.vocab_size
        for row in range(rows):
            chosen = torch.arange(len(tokens)) == row
            scores[row] = case._scores(chosen, tokens[chosen]) + score
        return Results({**truth.outputs, "tokens": tokens, "scores": scores}, {})

    assert case.why_wrong(altered(0, 0.0), truth) is None
    assert case.why_wrong(altered(1, 0.0), truth) is None
    assert case.why_wrong(altered(1, 0.5), truth) == "the score of a caption is not its log-probability"
    assert case.why_wrong(altered(2, 0.0), truth).endswith(", of 2 of 20 motions")
    shorter = Results({**truth.outputs, "tokens": truth.outputs["tokens"][..., :-1]}, {})
    assert "tokens has shape" in case.why_wrong(shorter, truth)


def test_captions_do_not_end_of_themselves():
    for name, beams in (("greedy", 1), ("beam", 2)):
        tokens = tiny(name).truth().outputs["tokens"]
        assert tokens.shape == (TINY.motions, beams, TINY.caption_words)
        assert not (tokens == EOS).any() and not (tokens == PAD).any()


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("training_step", TINY.words),
        ("greedy", TINY.motions * (TINY.caption_words + 1)),
        ("beam", TINY.motions * (TINY.caption_words + 1)),
    ],
)
def test_the_released_way_makes_keys_anew_for_every_word(name, times, monkeypatch):
    """Once per word, and a search once per motion; every other way makes them at most once."""
    made, asked = [], []
    equations, method = reference.attention_keys, SpatioTemporalAttention.keys
    monkeypatch.setattr(reference, "attention_keys", lambda *x: made.append(1) or equations(*x))
    monkeypatch.setattr(SpatioTemporalAttention, "keys", lambda self, *x: asked.append(1) or method(self, *x))
    for way in EAGER:
        made.clear()
        asked.clear()
        tiny(name).prepare(way)()
        assert len(made) == times if way == LOOP else len(asked) <= 1, way


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_training_batches_are_captions(size):
    batch = training_batch(size)
    assert batch.motion.shape == (size.batch, size.frames, size.config.joints, 3)
    assert batch.tokens.shape == (size.batch, size.words + 1) and int(batch.tokens.max()) < size.config.vocab_size
    assert bool((batch.tokens[:, 0] == SOS).all()) and bool(((batch.tokens == EOS).sum(1) == 1).all())
    ended = (batch.tokens == EOS).cumsum(1) > 0
    assert torch.equal(batch.tokens == PAD, ended & (batch.tokens != EOS))
    padding = (batch.tokens == PAD)[:, 1:]
    assert bool((batch.gate_target[padding] == -1).all()) and bool((batch.spatial_target[padding] == -1).all())
    assert {-1.0, 0.0, 1.0} == set(batch.gate_target.unique().tolist()) == set(batch.spatial_target.unique().tolist())
    assert int(batch.lengths.max()) == size.frames and int(batch.lengths.min()) >= size.frames // 5
