"""The gated step's Triton kernels, interpreted: forced gates, and the loss folded into them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
import triton
import triton.language as tl
from support import assert_hidden_may_be_top, assert_within_policy, exact, results, targets

from m2t_fast import ops, reference, use_backend
from m2t_fast.kernels.functions import gate_loss, gate_loss_slope
from m2t_fast.ops.cases import GateCase

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize("force", [0.25, 1.0])
def test_a_forced_gate(force: float) -> None:
    inputs = GateCase().inputs(torch.float32)
    exact = [x.double().requires_grad_() for x in inputs]
    ours = [x.requires_grad_() for x in inputs]
    with use_backend("triton"):
        actual = ops.gated_decoder_step(*ours, force_gate=force)
    expected = reference.gated_decoder_step(*exact, force_gate=force)
    for out in (actual, expected):
        (out.features.square().sum() + (2 * out.gate_logit).sum() + out.gate.sum()).backward()
    for a, e in zip([*actual, *(x.grad for x in ours)], [*expected, *(x.grad for x in exact)], strict=True):
        torch.testing.assert_close(a.double(), e, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("used", [range(4), [3], [0, 3], [0]], ids=str)
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_the_loss_folded_into_the_gated_step(spread: float, used: Iterable[int]) -> None:
    inputs = GateCase(B=3, L=7).inputs(torch.float32)
    inputs[5] *= spread  # 40: gates that round to 0 and 1
    target = targets(3, 7)
    target[1] = -1
    arguments = [*inputs, target]
    truth, plain = (results(reference.guided_decoder_step, x, used) for x in (exact(arguments), arguments))
    with use_backend("triton"):
        ours = results(ops.guided_decoder_step, arguments, used)
    assert_within_policy(ours, plain, truth, outputs=4)
    assert ours[3].dtype == torch.float32 and not ours[3][1].any()
    with use_backend("triton"):
        kept = ops.gated_decoder_step(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(ours, kept, strict=False))


@triton.jit
def _gate_losses(x, goal, loss, slope, N, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    logit, wanted = tl.load(x + i, mask=i < N), tl.load(goal + i, mask=i < N)
    tl.store(loss + i, gate_loss(logit, wanted), mask=i < N)
    tl.store(slope + i, gate_loss_slope(logit, wanted), mask=i < N)


@pytest.mark.parametrize("goal", [0.0, 0.25, 1.0])
def test_the_gate_loss_keeps_its_digits_where_it_is_small(goal: float) -> None:
    x = torch.linspace(-80, 80, 4001)
    loss, slope = torch.empty_like(x), torch.empty_like(x)
    _gate_losses[(1,)](x, torch.full_like(x, goal), loss, slope, len(x), BLOCK=4096)
    exact = x.double().requires_grad_()
    softplus = torch.nn.functional.softplus
    expected = (1 - goal) * softplus(exact) + goal * softplus(-exact)
    expected.sum().backward()
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(slope.double(), exact.grad, rtol=1e-6, atol=1e-7 if goal == 0.25 else 1e-40)


def test_one_tensor_as_hidden_and_top() -> None:
    with use_backend("triton"):
        assert_hidden_may_be_top(torch.float32, 1e-5)
