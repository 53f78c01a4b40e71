"""Autocast: the ops and the whole model take torch's dtype, gradients come back in the parameters' own."""

from __future__ import annotations

import interpreter
import pytest
import torch

from m2t_fast import Captioner, CaptionerConfig, ops, use_backend
from m2t_fast.losses import guided_loss
from m2t_fast.ops.cases import CASES, AttentionCase
from m2t_fast.ops.registry import OPS
from m2t_fast.records import Wide, converted


@pytest.fixture(params=interpreter.backends())
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that can run on this machine, and Triton's kernels interpreted."""
    return request.param


AUTOCAST = [name for name, op in OPS.items() if op.autocast and op.differentiable]


def results(op, x):
    x = x._replace(**{name: getattr(x, name).detach().requires_grad_() for name in op.gradients})
    outputs = op(*x)
    outputs = tuple(outputs) if isinstance(outputs, tuple) else (outputs,)
    sum(o.float().square().sum() for o in outputs).backward()
    return outputs, [getattr(x, name).grad for name in op.gradients]


@pytest.mark.parametrize("name", AUTOCAST)
def test_an_op_computes_in_the_dtype_of_autocast(name, backend):
    op, x = OPS[name], next(iter(CASES[name].values())).record(torch.float32)
    short = converted(x, lambda v: v.bfloat16() if v.is_floating_point() else v)
    with use_backend(backend):
        expected = results(op, short)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = results(op, x)
    for (_, kind), a, e in zip(op.outputs, actual[0], expected[0], strict=True):
        assert a.dtype == (torch.float32 if isinstance(kind, Wide) else torch.bfloat16) and torch.equal(a, e)
    for a, e in zip(actual[1], expected[1], strict=True):
        assert a.dtype == torch.float32 and torch.equal(a, e.float())


def test_mixed_dtypes_are_welcome_under_autocast_alone():
    inputs = AttentionCase().inputs(torch.float32)
    inputs[4] = inputs[4].bfloat16()
    with pytest.raises(TypeError, match="spatial_query has dtype torch.bfloat16"):
        ops.spatio_temporal_attention(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ops.spatio_temporal_attention(*inputs).context.dtype == torch.bfloat16


def test_float64_stays_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ops.spatio_temporal_attention(*AttentionCase().inputs()).context.dtype == torch.float64


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_training_step_of_the_model(scoring, backend):
    torch.manual_seed(0)
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=4, dropout=0.0)
    model = Captioner(CaptionerConfig(vocab_size=9, joints=21, scoring=scoring, **sizes))
    motion, lengths = torch.randn(2, 7, 21, 3), torch.tensor([7, 4])
    tokens = torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0]])
    gate_target, spatial_target = torch.tensor([[1, 0, -1]] * 2), torch.ones(2, 3, 6)

    def step(enabled):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = model(motion, lengths, tokens)
            loss = guided_loss(out, tokens, lengths, gate_target, spatial_target).total
        loss.backward()
        return out, loss.detach(), [p.grad for p in model.parameters()]

    with use_backend(backend):
        out, loss, grads = step(True)
        _, exact_loss, exact = step(False)
    assert out.window.dtype == torch.bfloat16 and abs(loss - exact_loss) < 0.03 * exact_loss
    for grad, value, parameter in zip(grads, exact, model.parameters(), strict=True):
        assert grad.dtype == parameter.dtype == torch.float32
        assert float((grad - value).norm()) <= 0.1 * float(value.norm()) + 1e-3
