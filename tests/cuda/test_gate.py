"""The gated decoder step in CUDA, on the emulated device: few and many rows against the numerics policy."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from m2t_fast import validation
from m2t_fast.ops.cuda import gate

BOTH = pytest.mark.parametrize("few", [True, False], ids=["few", "many"])


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", validation.OPS["gated_decoder_step"].cases)
def test_policy(device: ModuleType, monkeypatch: pytest.MonkeyPatch, case: str, dtype: torch.dtype, few: bool) -> None:
    monkeypatch.setattr(gate, "FEW_ROWS", 100 if few else 0)
    row = validation.row("gated_decoder_step", case, "cuda", dtype, draws=3)
    assert row.passed, row
