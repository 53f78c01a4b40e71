"""A device without bfloat16 refuses it in one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from m2t_fast.ops import capability


@pytest.mark.parametrize("found", [(7, 5), (8, 0), (12, 0)])
def test_bfloat16_before_ampere(monkeypatch: pytest.MonkeyPatch, found: tuple[int, int]) -> None:
    monkeypatch.setattr(capability, "capability", lambda index: found)
    device = torch.device("cuda", 1)
    half: Any = SimpleNamespace(dtype=torch.float16, is_cuda=True, device=device)
    short: Any = SimpleNamespace(dtype=torch.bfloat16, is_cuda=True, device=device)
    capability.check_dtype(half)
    capability.check_dtype(torch.zeros(1, dtype=torch.bfloat16))
    if found >= (8, 0):
        capability.check_dtype(short)
        return
    with pytest.raises(RuntimeError, match=r"^bfloat16 on cuda:1: compute capability 7\.5 has none .*float16$"):
        capability.check_dtype(short)
