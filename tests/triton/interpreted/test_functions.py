"""Functions that Triton kernels share, interpreted: tanh to the last digits, and the ceilings' loop."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from m2t_fast.kernels.ceilings import repeat_tanh
from m2t_fast.kernels.tanh import tanh

pytestmark = pytest.mark.interpreted


@triton.jit
def _tanh(x, y, N, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tanh(tl.load(x + i, mask=i < N)), mask=i < N)


def test_tanh_of_float32_within_2_ulp() -> None:
    x = torch.cat([torch.logspace(-30, 1, 400_001, dtype=torch.float64), torch.linspace(1e-3, 12, 400_001)]).float()
    x = torch.cat([x, -x])
    y = torch.empty_like(x)
    _tanh[(triton.cdiv(len(x), 1 << 16),)](x, y, len(x), BLOCK=1 << 16)
    exact = torch.tanh(x.double())
    _, exponent = torch.frexp(exact)
    error = (y.double() - exact).abs() / torch.ldexp(torch.ones_like(exact), exponent - 24)
    assert float(error.max()) <= 1.2 and float(error.mean()) <= 0.3
    assert bool((y.abs() <= 1).all()) and torch.equal(y[: len(x) // 2], -y[len(x) // 2 :])
    special = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, 1e-42])
    _tanh[(1,)](special, found := torch.empty_like(special), 5, BLOCK=8)
    assert found[0].isnan() and torch.equal(found[1:], torch.tensor([1.0, -1.0, 0.0, 1e-42]))


def test_the_bare_tanh_loop() -> None:
    out = torch.zeros(256)
    repeat_tanh[(2,)](out, 3, BLOCK=128, APPROXIMATE=False)
    expected = torch.arange(256, dtype=torch.float64) * 1e-6
    for _ in range(3):
        expected = torch.tanh(expected) + 0.7
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=0)
