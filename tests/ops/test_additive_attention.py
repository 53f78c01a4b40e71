"""Additive attention: the page of the docs runs, and the layer attends to what is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from m2t_fast import ops, use_backend
from m2t_fast.modules import AdditiveAttention
from m2t_fast.ops.cases import AdditiveCase
from m2t_fast.ops.registry import why_unavailable

PAGE = Path(__file__).resolve().parents[2] / "docs" / "additive_attention.md"


def test_the_page_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    torch.manual_seed(0)
    exec(code, {})


def test_the_layer() -> None:
    torch.manual_seed(0)
    layer = AdditiveAttention(5, 6, 8)
    query, keys = torch.randn(2, 3, 5), torch.randn(2, 7, 6)
    lengths = torch.tensor([7, 4])
    out = layer(query, keys, lengths)
    assert out.context.shape == (2, 3, 6) and not out.weights[1, :, 4:].any()
    torch.testing.assert_close(out.weights.sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(out.context, out.weights @ keys)
    out.context.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")
def test_threads_change_no_bit_and_padding_is_not_read() -> None:
    *floats, lengths = AdditiveCase(B=3, T=37, L=11, D=67).inputs(torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads, fill in ((1, 0.0), (3, torch.nan)):
            torch.set_num_threads(threads)
            for x in floats[1:3]:
                x[torch.arange(37) >= lengths[:, None]] = fill
            leaves = [x.clone().requires_grad_() for x in floats]
            with use_backend("cpu"):
                out = ops.additive_attention(*leaves, lengths)
            found.append([*out, *torch.autograd.grad(sum(o.square().sum() for o in out), leaves)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
