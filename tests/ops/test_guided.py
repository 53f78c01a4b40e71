"""The attention with its spatial loss: the same as attention, then loss, on every backend and in training."""

from __future__ import annotations

import pytest
import torch

from m2t_fast import Captioner, CaptionerConfig, ops, reference, use_backend
from m2t_fast.losses import guided_loss
from m2t_fast.ops.cases import AttentionCase


def results(function, inputs, target):
    leaves = [x.detach().requires_grad_() for x in inputs[:8]]
    context, loss = function(*leaves, inputs[8], target, 0.5)
    (context.square().sum() + (loss * torch.arange(1, loss.shape[1] + 1)).sum()).backward()
    return [context.detach(), loss.detach(), *(x.grad for x in leaves)]


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


def test_opcheck(backend):
    inputs = [x.requires_grad_() for x in AttentionCase(S=6).inputs()[:8]]
    lengths = AttentionCase(S=6).inputs()[8]
    torch.library.opcheck(torch.ops.m2t_fast.guided_attention, (*inputs, lengths, targets(2, 5, 6), 1.0, backend))


def test_a_wrong_target_is_refused_by_name():
    with pytest.raises(ValueError, match=r"spatial_target has shape \(2, 5\), expected \(2, 5, 6\)"):
        ops.guided_attention(*AttentionCase().inputs(), targets(2, 5))


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_guided_step_has_the_losses_and_gradients_of_a_plain_one(scoring):
    torch.manual_seed(0)
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=4)
    model = Captioner(CaptionerConfig(vocab_size=9, joints=21, scoring=scoring, **sizes)).double()
    motion, lengths = torch.randn(2, 7, 21, 3, dtype=torch.float64), torch.tensor([7, 4])
    tokens, gate_target, target = torch.randint(3, 9, (2, 5)), targets(2, 4), targets(2, 4, 6)
    draws = model.draw(2, 4, 0.5, torch.Generator().manual_seed(1))
    found = []
    for out in (
        model.run(motion, lengths, tokens, draws),
        model.run_guided(motion, lengths, tokens, draws, target),
    ):
        model.zero_grad()
        loss = guided_loss(out, tokens, lengths, gate_target, target)
        loss.total.backward()
        found.append([*loss, *(p.grad for p in model.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
