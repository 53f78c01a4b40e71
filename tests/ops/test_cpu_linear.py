"""Linear layers of the cpu backend against torch in float64: shapes, dtypes, padding, threads, instruction sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from m2t_fast.ops.cpu import launch, linear
from m2t_fast.ops.registry import why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13, torch.bfloat16: 1e-2}
"""Largest error as a share of the largest value; short sums of a few hundred terms."""


@pytest.fixture(params=["best", "baseline", "avx2", "avx512", "torch"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every product that a processor may get."""
    if request.param == "torch":
        monkeypatch.setattr(linear, "product_of", lambda dtype: "torch")
    else:
        monkeypatch.setattr(launch, "instruction_set", request.param)
    yield request.param


def computed(*tensors: Tensor) -> list[Tensor]:
    dtype = linear.arithmetic(tensors[0].dtype, [x.shape[-1] for x in tensors])
    return [linear.as_computed(x, dtype) for x in tensors]


def assert_close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.shape == expected.shape
    scale = float(expected.abs().max()) if expected.numel() else 1.0
    assert float((found.double() - expected).abs().max() if found.numel() else 0.0) <= TOLERANCE[dtype] * max(scale, 1)


def check(batch: int, frames: int, per_frame: int, inputs: int, outputs: int, dtype: torch.dtype, tanh: bool) -> None:
    """Two layers of one input, forward and backward; what lies beyond a length is NaN and must not be read."""
    g = torch.Generator().manual_seed(batch + 10 * frames + inputs)
    lengths = torch.randint(0, frames + 1, (batch,), generator=g)
    rows = linear.Rows(batch, frames, per_frame, lengths)
    valid = (torch.arange(frames) < lengths[:, None])[..., None].expand(-1, -1, per_frame).reshape(-1)
    count = batch * frames * per_frame

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g).to(dtype)

    x, weights, biases = (
        normal(count, inputs),
        [normal(outputs, inputs) / inputs**0.5 for _ in range(2)],
        [normal(outputs), None],
    )
    grads = [normal(count, outputs) for _ in range(2)]
    exact_x, exact_weights = x.double(), [w.double() for w in weights]
    exact_grads = [grad.double() * valid[:, None] for grad in grads]
    for tensor in (x, *grads):
        tensor[~valid] = torch.nan

    x, *weights = computed(x, *weights)
    layers = [(w, b if b is None else linear.as_computed(b, x.dtype)) for w, b in zip(weights, biases, strict=True)]
    for y, w, b in zip(linear.linear(x, layers, rows, tanh), exact_weights, biases, strict=True):
        expected = exact_x @ w.T + (0 if b is None else b.double())
        assert_close(y, torch.where(valid[:, None], expected.tanh() if tanh else expected, 0), dtype)

    *grads, first, second = computed(*grads, *(w.T for w in exact_weights))
    weights = [first.T.contiguous(), second.T.contiguous()]
    expected = sum(grad @ w for grad, w in zip(exact_grads, exact_weights, strict=True))
    assert_close(linear.input_gradient(grads, weights, rows), expected, dtype)
    x = x.to(grads[0].dtype)
    for (d_weight, d_bias), grad in zip(
        linear.weight_gradients([(d, x) for d in grads], rows), exact_grads, strict=True
    ):
        assert_close(d_weight, grad.T @ torch.where(valid[:, None], exact_x, 0), dtype)
        assert_close(d_bias, grad.sum(0), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(3, 7, 6, 20, 13), (2, 40, 1, 260, 70), (1, 300, 6, 8, 270), (4, 1, 1, 1, 1)])
def test_layers_and_gradients(sizes: tuple[int, ...], dtype: torch.dtype, product: str) -> None:
    check(*sizes, dtype, tanh=False)


size = st.integers(0, 150)


@given(st.integers(0, 4), st.integers(1, 30), st.integers(1, 6), st.integers(1, 150), size, st.booleans())
def test_any_shape(batch: int, frames: int, per_frame: int, inputs: int, outputs: int, tanh: bool) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        check(batch, frames, per_frame, inputs, outputs, dtype, tanh)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_bits_on_any_number_of_threads(dtype: torch.dtype) -> None:
    rows = linear.Rows(9, 200, 2, torch.arange(40, 200, 18)[:9])
    x, grad, weight = (torch.randn(n, 128).to(dtype) for n in (3600, 3600, 128))
    x, grad, weight = computed(x, grad, weight)

    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            gradient = linear.weight_gradients([(grad, x)], rows)[0]
            found.append(
                [*linear.linear(x, [(weight, None)], rows), linear.input_gradient([grad], [weight], rows), *gradient]
            )
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_bfloat16_with_an_odd_number_of_terms_is_multiplied_in_float32() -> None:
    assert linear.arithmetic(torch.bfloat16, [7]) == torch.float32
    expected = torch.bfloat16 if linear.multiplies_bfloat16() else torch.float32
    assert linear.arithmetic(torch.bfloat16, [8]) == expected
