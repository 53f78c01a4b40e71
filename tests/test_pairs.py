"""What the tanh of pairs may err, as kernels/tanh.py and csrc/cuda/tanh.h state it, over dense float32 numbers.

The kernels' arithmetic, each operation rounded to float32 as the hardware rounds it; exponentials and reciprocal err as
much as the hardware's may, in either direction.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
STATED = {False: 5.7e-7, True: 4.8e-7}
"""The largest error of a tanh, without and with a step of Newton's."""
EXPONENTIAL, RECIPROCAL = 2**-22, 2**-23
"""Relative errors: expf's two units of the last place, and rcp.approx.ftz.f32's bound in the PTX ISA."""
LARGEST = 11.0


def rounded(x: Tensor) -> Tensor:
    """float64 numbers to the nearest float32."""
    return x.float().double()


def tanh_of_pair(k0: Tensor, q0: Tensor, k1: Tensor, q1: Tensor, refined: bool, signs: tuple[int, int]) -> Tensor:
    """tanh(k0 + q0) as `halves` makes it beside tanh(k1 + q1)."""

    def exponential(x: Tensor) -> Tensor:
        return rounded(torch.exp(2 * x) * (1 + signs[0] * (EXPONENTIAL - 2**-24)))

    x, y = rounded(exponential(k0) * exponential(q0) + 1), rounded(exponential(k1) * exponential(q1) + 1)
    product = rounded(x * y)
    r = rounded((1 + signs[1] * (RECIPROCAL - 2**-24)) / product)
    if refined:
        r = rounded(r * rounded(1 - product * r) + r)
    return -2 * rounded(r * y - 0.5)


def pairs(scale: float) -> list[Tensor]:
    """Half a million keys and queries: evenly spread, and evenly in their logarithm down to 1e-6 of the scale."""
    g = torch.Generator().manual_seed(0)
    found = []
    for _ in range(4):
        x = (torch.rand(1 << 18, generator=g, dtype=torch.float64) * 2 - 1) * scale
        small = torch.exp(torch.rand(1 << 18, generator=g, dtype=torch.float64) * -13.8) * scale
        small = torch.where(torch.rand(1 << 18, generator=g) < 0.5, small, -small)
        found.append(rounded(torch.cat([x, small])))
    return found


@pytest.mark.parametrize("refined", [False, True])
def test_the_error_of_a_tanh_stays_below_what_is_stated(refined: bool) -> None:
    worst = 0.0
    for scale in (0.1, 1.0, 3.0, LARGEST):
        given = pairs(scale)
        truth = torch.tanh(given[0] + given[1])
        for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            worst = max(worst, float((tanh_of_pair(*given, refined, signs) - truth).abs().max()))
    assert 0.7 * STATED[refined] < worst <= STATED[refined]


def test_the_sources_and_the_page_state_it() -> None:
    for name in ("kernels/tanh.py", "csrc/cuda/tanh.h", "docs/kernels-cuda.md"):
        assert re.search(r"5\.7e-7", (ROOT / name).read_text(encoding="utf-8")), name
