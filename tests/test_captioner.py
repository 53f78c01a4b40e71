"""The model: parallel form against the word-by-word loop, compilation, padding, one-frame motions, bad arguments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast import Captioner, CaptionerConfig
from m2t_fast.benchmarking.stepwise import stepwise
from m2t_fast.losses import guided_loss
from m2t_fast.random import Counter

SIZES = dict(vocab_size=17, part_dim=6, attention_dim=7, hidden_size=5, embedding_dim=4)


def tiny(scoring="part", joints=22, dtype=torch.float64, **changes) -> Captioner:
    torch.manual_seed(3)
    return Captioner(CaptionerConfig(**{**SIZES, **changes}, joints=joints, scoring=scoring)).to(dtype)


def batch(B=3, T=8, L=6, joints=22, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    motion = torch.randn(B, T, joints, 3, generator=g, dtype=torch.float64).to(dtype)
    lengths = torch.randint(1, T + 1, (B,), generator=g)
    tokens = torch.randint(3, SIZES["vocab_size"], (B, L + 1), generator=g)
    tokens[:, 0] = 1
    gate_target = torch.randint(-1, 2, (B, L), generator=g)
    spatial_target = torch.randint(-1, 2, (B, L, 1), generator=g).expand(B, L, 6)
    return motion, lengths, tokens, gate_target, spatial_target


def step_by_both(model, data, draws):
    """Outputs, losses and gradients of the parallel form and of the loop."""
    motion, lengths, tokens, *targets = data
    results = []
    for run in (model.run, lambda *a: stepwise(model, *a)):
        out = run(motion, lengths, tokens, draws)
        loss = guided_loss(out, tokens, lengths, *targets)
        results.append((out, loss, torch.autograd.grad(loss.total, list(model.parameters()))))
    return results


@pytest.mark.parametrize("scoring", ["part", "frame"])
@pytest.mark.parametrize("teacher_forcing", [1.0, 0.5, 0.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_scheduled_sampling_equals_the_loop_over_words(scoring, teacher_forcing, dtype, tolerance):
    model = tiny(scoring, dtype=dtype).train()
    data = batch(dtype=dtype)
    draws = model.draw(3, 6, teacher_forcing, torch.Generator().manual_seed(5))
    assert draws.dropout is not None
    (out, loss, grads), (out_loop, loss_loop, grads_loop) = step_by_both(model, data, draws)
    assert torch.equal(out.words, out_loop.words)
    if teacher_forcing < 1:
        assert not torch.equal(out.words, data[2][:, :-1])  # it read words of its own
    for a, b in zip((*out, *loss, *grads), (*out_loop, *loss_loop, *grads_loop), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@given(B=st.integers(1, 3), T=st.integers(1, 9), L=st.integers(1, 6), seed=st.integers(0, 99), frame=st.booleans())
def test_scheduled_sampling_equals_the_loop_in_any_shape(B, T, L, seed, frame):
    model = tiny("frame" if frame else "part").train()
    draws = model.draw(B, L, 0.5, torch.Generator().manual_seed(seed))
    (out, _, grads), (out_loop, _, grads_loop) = step_by_both(model, batch(B, T, L, seed=seed), draws)
    assert torch.equal(out.words, out_loop.words)
    for a, b in zip(grads, grads_loop, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_every_parameter_gets_a_gradient(scoring):
    model = tiny(scoring).train()
    motion, lengths, tokens, *targets = batch(B=4, T=12)
    guided_loss(model(motion, lengths, tokens), tokens, lengths, *targets).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("joints", [21, 22])
def test_shapes(joints):
    model = tiny(joints=joints)
    out = model(*batch(joints=joints)[:3])
    assert out.logits.shape == (3, 6, 17)
    assert out.gate.shape == out.mean.shape == out.std.shape == (3, 6)
    assert out.window.shape == (3, 6, 8)
    assert out.spatial.shape == (3, 6, 8, 6)


def test_attention_is_what_the_contract_says():
    motion, lengths, tokens, *_ = batch(B=4)
    out = tiny()(motion, lengths, tokens)
    valid = torch.arange(8) < lengths[:, None]
    expected = valid[:, None].expand(4, 6, 8)
    torch.testing.assert_close(out.spatial.sum(-1), expected.double())
    assert (out.window[~expected] == 0).all() and (out.window <= 1).all()
    assert (out.mean >= 0).all() and (out.mean <= lengths[:, None] - 1).all()
    assert (out.std >= 1e-3).all()


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_one_frame_motion_is_finite_forward_and_backward(scoring):
    model = tiny(scoring, dtype=torch.float32).train()
    motion, _, tokens, *targets = batch(T=1, dtype=torch.float32)
    lengths = torch.ones(3, dtype=torch.int64)
    out = model(motion, lengths, tokens)
    loss = guided_loss(out, tokens, lengths, *targets)
    loss.total.backward()
    assert all(x.isfinite().all() for x in out)
    assert all(p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(out.window, torch.ones_like(out.window))


def test_padding_and_batch_mates_change_nothing():
    model = tiny().eval()
    motion, lengths, tokens, *_ = batch(B=3)
    motion[0, lengths[0] :] = torch.nan
    together = model(motion, lengths, tokens)
    for n, length in enumerate(lengths.tolist()):
        alone = model(motion[n : n + 1, :length], lengths[n : n + 1], tokens[n : n + 1])
        torch.testing.assert_close(alone.logits[0], together.logits[n])
        torch.testing.assert_close(alone.window[0], together.window[n, :, :length])


def test_moving_the_whole_scene_changes_only_the_root():
    """Joints are root-relative: the features of the limbs do not see where in the room the motion happens."""
    model = tiny()
    motion, lengths, *_ = batch()
    before = model.encode(motion, lengths).parts
    after = model.encode(motion + torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64), lengths).parts
    torch.testing.assert_close(after[:, :, 2:], before[:, :, 2:])
    assert not torch.allclose(after[:, :, 0], before[:, :, 0])


def test_the_generator_makes_training_reproducible():
    model = tiny().train()
    motion, lengths, tokens, *_ = batch()
    first, second, other = (
        model(motion, lengths, tokens, 0.5, torch.Generator().manual_seed(seed)).logits for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("teacher_forcing", [0.0, 0.5, 1.0])
def test_a_counter_gives_a_part_of_a_batch_what_the_whole_gets(teacher_forcing):
    model = tiny().train()
    motion, lengths, tokens, *_ = batch()
    counter = Counter(2**40, 7)
    whole = model(motion, lengths, tokens, teacher_forcing, counter)
    assert torch.equal(model(motion, lengths, tokens, teacher_forcing, Counter(2**40, 7)).logits, whole.logits)
    rows = torch.arange(len(tokens))[::2]
    part = model(motion[rows], lengths[rows], tokens[rows], teacher_forcing, counter.of_rows(rows))
    assert torch.equal(part.words, whole.words[rows])
    torch.testing.assert_close(part.logits, whole.logits[rows])
    counter.advance()
    assert not torch.allclose(model(motion, lengths, tokens, teacher_forcing, counter).logits, whole.logits)
    with pytest.raises(ValueError, match="rows has shape"):
        model(motion, lengths, tokens, teacher_forcing, counter.of_rows(rows))


def test_a_counter_as_without_coins_and_dropout():
    model, counter = tiny().train(), Counter(0)
    assert model.draw(2, 3, 1.0, counter).coins is None and not model.draw(2, 3, 0.0, counter).coins.any()
    assert model.eval().draw(2, 3, 1.0, counter) == (None, None)
    assert model.draw(2, 3, 0.5, counter).dropout is None and model.draw(2, 3, 0.5, counter).coins.shape == (3,)
    plain = tiny(dropout=0.0).train()
    assert plain.draw(2, 3, 1.0, counter) == (None, None) and plain.draw(2, 3, 0.5, counter).dropout is None


def test_evaluation_mode_has_no_dropout():
    model = tiny().eval()
    motion, lengths, tokens, *_ = batch()
    assert torch.equal(model(motion, lengths, tokens).logits, model(motion, lengths, tokens).logits)


@pytest.mark.slow
@pytest.mark.parametrize("scoring", ["part", "frame"])
@pytest.mark.parametrize("teacher_forcing", [1.0, 0.5])
def test_compiles_as_one_graph_with_equal_results(scoring, teacher_forcing):
    torch.compiler.reset()
    model = tiny(scoring, dtype=torch.float32).eval()
    motion, lengths, tokens, *targets = batch(dtype=torch.float32)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")  # tests/training asks the compiler itself
    torch.manual_seed(0)
    expected = model(motion, lengths, tokens, teacher_forcing)
    torch.manual_seed(0)
    actual = compiled(motion, lengths, tokens, teacher_forcing)
    if teacher_forcing == 1.0:  # a compiled graph has coins of its own
        torch.testing.assert_close(actual.logits, expected.logits, rtol=1e-4, atol=1e-5)
        grads = []
        for out in (expected, actual):
            loss = guided_loss(out, tokens, lengths, *targets).total
            grads.append(torch.autograd.grad(loss, list(model.parameters())))
        for e, a in zip(*grads, strict=True):
            torch.testing.assert_close(a, e, rtol=1e-4, atol=1e-5)
    else:
        assert actual.logits.isfinite().all()
    with pytest.raises(Exception, match="expected 1 to 8"):
        compiled(motion, lengths * 0, tokens, teacher_forcing)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(motion=torch.zeros(3, 8, 21, 3, dtype=torch.float64)), ValueError, r"motion has shape \(3, 8, 21, 3\)"),
        (dict(motion=torch.zeros(3, 8, 22, 2, dtype=torch.float64)), ValueError, "motion has shape"),
        (dict(motion=torch.zeros(3, 0, 22, 3, dtype=torch.float64)), ValueError, "at least one frame"),
        (dict(motion=torch.zeros(3, 8, 22, 3)), TypeError, "motion has dtype torch.float32, expected torch.float64"),
        (dict(motion=torch.zeros(3, 8, 22, 3).to_sparse()), TypeError, "motion has layout torch.sparse_coo"),
        (dict(motion=None), TypeError, "motion must be a tensor, got NoneType"),
        (dict(lengths=torch.tensor([1, 2])), ValueError, r"lengths has shape \(2,\)"),
        (dict(lengths=torch.tensor([1, 0, 2])), ValueError, r"lengths\[1\] is 0, expected 1 to 8"),
        (dict(lengths=torch.tensor([1, 9, 2])), ValueError, r"lengths\[1\] is 9, expected 1 to 8"),
        (dict(lengths=torch.tensor([1.0, 2.0, 3.0])), TypeError, "lengths must be an int64 tensor"),
        (dict(tokens=torch.full((3, 5), 17)), ValueError, r"tokens\[0, 0\] is 17, expected 0 to 16"),
        (dict(tokens=torch.full((3, 5), -1)), ValueError, r"tokens\[0, 0\] is -1, expected 0 to 16"),
        (dict(tokens=torch.ones(3, 1, dtype=torch.int64)), ValueError, "L >= 1"),
        (dict(tokens=torch.ones(2, 5, dtype=torch.int64)), ValueError, r"tokens has shape \(2, 5\)"),
        (dict(tokens=torch.ones(3, 5)), TypeError, "tokens must be an int64 tensor"),
        (dict(teacher_forcing=1.5), ValueError, "teacher_forcing: got 1.5"),
        (dict(teacher_forcing=float("nan")), ValueError, "teacher_forcing: got nan"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, error, message):
    motion, lengths, tokens, *_ = batch()
    arguments = dict(motion=motion, lengths=lengths, tokens=tokens) | change
    with pytest.raises(error, match=message):
        tiny()(**arguments)


def test_config_presets_have_the_papers_sizes():
    kit = CaptionerConfig.kit(vocab_size=1100)
    assert (kit.joints, kit.part_dim, kit.attention_dim, kit.hidden_size, kit.embedding_dim) == (21, 128, 128, 128, 64)
    h3d = CaptionerConfig.humanml3d(vocab_size=3200)
    assert (h3d.joints, h3d.part_dim, h3d.hidden_size, h3d.embedding_dim) == (22, 256, 256, 128)
    assert kit.scoring == "part" and kit.key_slots == 6 and CaptionerConfig.kit(9, scoring="frame").key_slots == 1


@pytest.mark.parametrize(
    "change",
    [
        dict(vocab_size=3), dict(vocab_size=0), dict(joints=23), dict(part_dim=7), dict(hidden_size=-1),
        dict(embedding_dim=2.5), dict(scoring="both"), dict(dropout=1.0), dict(context_scale=0.0),
    ],
)  # fmt: skip
def test_bad_configurations_are_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        CaptionerConfig(**{**SIZES, **change})


def test_config_round_trip_and_unknown_fields():
    config = CaptionerConfig.kit(vocab_size=99, scoring="frame")
    assert CaptionerConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unknown field 'width'"):
        CaptionerConfig.from_dict({**config.to_dict(), "width": 1})
    with pytest.raises(ValueError, match="'vocab_size' is missing"):
        CaptionerConfig.from_dict({"joints": 21})


def test_captioner_wants_a_config():
    with pytest.raises(TypeError, match="config must be a CaptionerConfig, got int"):
        Captioner(1100)
