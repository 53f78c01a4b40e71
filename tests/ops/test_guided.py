"""Attention and gated step with their losses: the same as op, then loss, on every backend and in training."""

from __future__ import annotations

import pytest
import torch

from m2t_fast import Captioner, CaptionerConfig, ops, reference, use_backend
from m2t_fast.data.batches import Batch
from m2t_fast.losses import adaptive_loss
from m2t_fast.ops.cases import AttentionCase, GateCase


def results(function, inputs, target):
    leaves = [x.detach().requires_grad_() for x in inputs[:8]]
    context, loss, mean, std = function(*leaves, inputs[8], target, 0.5)
    weights = torch.arange(1, loss.shape[1] + 1)
    (context.square().sum() + (loss * weights + mean * weights.flip(0) - std.square()).sum()).backward()
    return [*(x.detach() for x in (context, loss, mean, std)), *(x.grad for x in leaves)]


def targets(*shape):
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_values_and_gradients(S, spread, backend):
    inputs = AttentionCase(S=S, B=3).inputs()
    inputs[6] *= spread
    expected = results(reference.guided_attention, inputs, targets(3, 5, 6))
    with use_backend(backend):
        actual = results(ops.guided_attention, inputs, targets(3, 5, 6))
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-9, atol=1e-10)


def gate_results(function, inputs, target, outputs=range(4)):
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = function(*leaves, target)
    sum((out[i].square() * torch.arange(1, out[i].shape[1] + 1).view(-1, *[1] * (out[i].dim() - 2))).sum()
        for i in outputs).backward()  # fmt: skip
    return [*(x.detach() for x in out), *(torch.zeros_like(x) if x.grad is None else x.grad for x in leaves)]


@pytest.mark.parametrize("outputs", [range(4), [3], [0, 3], [0], [1, 2]], ids=str)
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_the_gated_step_with_its_loss(spread, outputs, backend):
    inputs = GateCase(B=3).inputs()
    inputs[5] *= spread  # 100: gates that round to 0 and 1
    expected = gate_results(reference.guided_decoder_step, inputs, targets(3, 5), outputs)
    with use_backend(backend):
        actual = gate_results(ops.guided_decoder_step, inputs, targets(3, 5), outputs)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-9, atol=1e-10)


def test_the_adaptive_terms_are_those_of_the_loss():
    gate = reference.gated_decoder_step(*GateCase(B=3).inputs())
    *_, terms = reference.guided_decoder_step(*GateCase(B=3).inputs(), targets(3, 5))
    supervised = targets(3, 5) >= 0
    assert not terms[~supervised].any() and terms[supervised].all()
    mean = terms.sum() / supervised.sum()
    torch.testing.assert_close(mean, adaptive_loss(gate.gate, targets(3, 5), gate.gate_logit), rtol=1e-12, atol=0)
    torch.testing.assert_close(mean, adaptive_loss(gate.gate, targets(3, 5)), rtol=1e-9, atol=0)


def test_opcheck_of_the_gated_step(backend):
    inputs = [x.requires_grad_() for x in GateCase().inputs()]
    torch.library.opcheck(torch.ops.m2t_fast.guided_decoder_step, (*inputs, targets(2, 5), backend))


def test_opcheck(backend):
    inputs = [x.requires_grad_() for x in AttentionCase(S=6).inputs()[:8]]
    lengths = AttentionCase(S=6).inputs()[8]
    torch.library.opcheck(torch.ops.m2t_fast.guided_attention, (*inputs, lengths, targets(2, 5, 6), 1.0, True, backend))


def test_a_wrong_target_is_refused_by_name():
    with pytest.raises(ValueError, match=r"spatial_target has shape \(2, 5\), expected \(B=2, L=5, P=6\)"):
        ops.guided_attention(*AttentionCase().inputs(), targets(2, 5))
    with pytest.raises(ValueError, match=r"gate_target has shape \(2, 6\), expected \(B=2, L=5\)"):
        ops.guided_decoder_step(*GateCase().inputs(), targets(2, 6))


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_guided_step_has_the_losses_and_gradients_of_a_plain_one(scoring, timed):
    torch.manual_seed(0)
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=4)
    model = Captioner(CaptionerConfig(vocab_size=9, joints=21, scoring=scoring, **sizes)).double()
    motion, lengths = torch.randn(2, 7, 21, 3, dtype=torch.float64), torch.tensor([7, 4])
    tokens, gate_target, target = torch.randint(3, 9, (2, 5)), targets(2, 4), targets(2, 4, 6)
    draws = model.draw(2, 4, 0.5, torch.Generator().manual_seed(1))
    found = []
    times = torch.tensor([[[-0.5, 3.5], [-1, -1], [2.5, 6.5], [-1, -1]], [[0.5, 3.5], [-1, -1], [-1, -1], [1.5, 2.5]]])
    batch = Batch(motion, lengths, tokens, gate_target, target, torch.arange(2), times if timed else None)
    for folded in (False, True):
        model.zero_grad()
        loss = model.losses(batch, draws, folded).weighted(2.0, 3.0, 4.0)
        assert len(loss) == 4 + timed
        loss.total.backward()
        found.append([*loss, *(p.grad for p in model.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_weights_that_underflow_in_float16_have_their_logarithms(backend):
    """As float16 a weight below 6e-8 is 0: its loss would be 100 in place of 17, and its gradient no number."""
    half = [x.half() if x.is_floating_point() else x for x in AttentionCase(S=6, B=3).inputs()]
    half[4] *= 4
    half[6] *= 4
    exact = [x.double() if x.is_floating_point() else x for x in half]
    assert (reference.spatio_temporal_attention(*half).spatial == 0).any()
    expected = results(reference.guided_attention, exact, targets(3, 5, 6))
    assert expected[1].max() > 17
    found = [results(reference.guided_attention, half, targets(3, 5, 6))]
    with use_backend(backend):
        found.append(results(ops.guided_attention, half, targets(3, 5, 6)))
    for actual in found:
        torch.testing.assert_close(actual[1].double(), expected[1], rtol=1e-5, atol=1e-5)
        for a, e in zip(actual, expected, strict=True):
            assert a.isfinite().all()
            assert (a.double() - e).abs().max() <= 1e-2 * e.abs().max() + 1e-2
