"""Weights cast once per step: the bits of casting at every use, and nothing kept behind the block."""

from __future__ import annotations

import torch

from m2t_fast import Captioner, CaptionerConfig
from m2t_fast.ops.casts import cast, cast_once


def test_one_cast_serves_all_and_carries_the_gradient() -> None:
    weight, other = torch.randn(3, 4, requires_grad=True), torch.randn(2, requires_grad=True)
    wide = torch.randn(2, dtype=torch.float64, requires_grad=True)
    with cast_once([weight, other, wide], torch.bfloat16):
        first = cast(weight, torch.bfloat16)
        assert first is cast(weight, torch.bfloat16) and first.requires_grad
        with torch.no_grad():
            assert cast(weight, torch.bfloat16) is first
        assert cast(weight, torch.float16).dtype == torch.float16
        assert cast(wide, torch.bfloat16) is not cast(wide, torch.bfloat16)
        (first.float() * 3).sum().backward()
    assert cast(weight, torch.bfloat16) is not first and torch.equal(first, weight.bfloat16())
    assert torch.equal(weight.grad, torch.full((3, 4), 3.0)) and other.grad is None


def test_a_step_in_mixed_precision_keeps_its_bits() -> None:
    torch.manual_seed(0)
    model = Captioner(CaptionerConfig.kit(vocab_size=20)).eval()
    motion, lengths = torch.randn(2, 5, 21, 3), torch.tensor([5, 3])
    tokens = torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0]])
    found = []
    for once in (False, True):
        model.zero_grad()
        with (
            torch.autocast("cpu", torch.bfloat16, cache_enabled=False),
            cast_once(model.parameters() if once else [], torch.bfloat16),
        ):
            out = model(motion, lengths, tokens)
        out.logits.float().square().mean().backward()
        found.append([out.logits.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1])
    for apart, once in zip(*found, strict=True):
        assert torch.equal(once, apart)
