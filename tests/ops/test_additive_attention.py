"""Additive attention: the page of the docs runs, and the layer attends to what is valid."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from m2t_fast.modules import AdditiveAttention

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
