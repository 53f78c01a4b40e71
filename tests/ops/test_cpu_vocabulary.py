"""The vocabulary layer with its cross entropy on the cpu backend, against torch in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.config import PAD
from m2t_fast.ops.cpu import launch
from m2t_fast.ops.registry import why_unavailable
from m2t_fast.ops.vocabulary import vocabulary_loss

pytestmark = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}


def check(rows: int, channels: int, vocabulary: int, dtype: torch.dtype, scale: float = 1.0) -> None:
    g = torch.Generator().manual_seed(rows + vocabulary)
    shapes = ((rows, channels), (vocabulary, channels), (vocabulary,))
    inputs = [(scale * torch.randn(shape, generator=g)).to(dtype) for shape in shapes]
    targets = torch.randint(0, vocabulary, (rows,), generator=g)
    targets[::3] = PAD
    ours, exact = ([x.detach().clone().to(kind).requires_grad_() for x in inputs] for kind in (dtype, torch.float64))
    loss = vocabulary_loss(*ours, targets)
    expected = F.cross_entropy(F.linear(*exact), targets, ignore_index=PAD, reduction="sum")
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(loss.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    (3 * loss).backward()
    (3 * expected).backward()
    for mine, true in zip(ours, exact, strict=True):
        assert mine.grad is not None and true.grad is not None and mine.grad.dtype == dtype
        size = max(1.0, float(true.grad.abs().max()))
        assert float((mine.grad.double() - true.grad).abs().max()) <= TOLERANCE[dtype] * size
    with torch.no_grad():
        assert torch.equal(vocabulary_loss(*ours, targets), loss)


@pytest.mark.parametrize("instruction_set", ["best", "baseline", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("vocabulary", [3, 64, 131, 1100])
def test_loss_and_gradients(
    vocabulary: int, dtype: torch.dtype, instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "instruction_set", instruction_set)
    check(37, 20, vocabulary, dtype)


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 200))
def test_any_shape(rows: int, channels: int, vocabulary: int) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        check(rows, channels, vocabulary, dtype, scale=0.5)


def test_logits_beyond_the_range_of_the_exponential() -> None:
    features, weight, bias = torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.0], [1e4], [-1e4]]), torch.zeros(3)
    loss = vocabulary_loss(features, weight, bias, torch.tensor([2, 2]))
    torch.testing.assert_close(loss, torch.tensor(2e4))


def test_only_padding_costs_nothing() -> None:
    inputs = [torch.randn(shape, requires_grad=True) for shape in ((4, 6), (9, 6), (9,))]
    loss = vocabulary_loss(*inputs, torch.full((4,), PAD))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(x.grad is not None and not x.grad.any() for x in inputs)


def test_registered_with_torch() -> None:
    inputs = [torch.randn(shape, requires_grad=True) for shape in ((4, 6), (9, 6), (9,))]
    torch.library.opcheck(
        torch.ops.m2t_fast.vocabulary_loss.default,
        (*inputs, torch.tensor([1, PAD, 3, 8]), True),
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic"),
    )
