"""The decoder's LSTM cells in CUDA, on the emulated device: few and many rows against the numerics policy."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from m2t_fast import validation
from m2t_fast.ops.cuda import lstm

BOTH = pytest.mark.parametrize("few", [True, False], ids=["few", "many"])


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", validation.OPS["lstm_cells"].cases)
def test_policy(device: ModuleType, monkeypatch: pytest.MonkeyPatch, case: str, dtype: torch.dtype, few: bool) -> None:
    monkeypatch.setattr(lstm, "FEW_ROWS", 100 if few else 0)
    row = validation.row("lstm_cells", case, "cuda", dtype, draws=3)
    assert row.passed, row
