"""Additive attention in CUDA, on the emulated device: values and gradients by the contract's policy, equal bits."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from m2t_fast import numerics, ops, use_backend
from m2t_fast.ops.cases import ADDITIVE_CASES, AdditiveCase

NAME = "additive_attention"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", ADDITIVE_CASES)
def test_policy(device: ModuleType, case: str, dtype: torch.dtype) -> None:
    row = numerics.row(NAME, case, "cuda", dtype, draws=2)
    assert row.passed, row


def test_padding_and_orders_of_threads_change_nothing(device: ModuleType) -> None:
    *floats, lengths = AdditiveCase(B=3, T=37, L=7, D=67).inputs(torch.float32)
    query, keys, values, weight = floats

    def results() -> list[torch.Tensor]:
        leaves = [x.clone().requires_grad_() for x in (query, keys, values, weight)]
        with use_backend("cuda"):
            out = ops.additive_attention(*leaves, lengths)
        total = (out.context * torch.linspace(-1, 1, out.context.numel()).view(out.context.shape)).sum()
        return [*out, *torch.autograd.grad(total + out.weights.square().sum(), leaves)]

    expected = results()
    device.set_order("shuffled")
    for b, length in enumerate(lengths):
        keys[b, length:], values[b, length:] = torch.nan, torch.nan
    assert all(torch.equal(a, b) for a, b in zip(results(), expected, strict=True))
