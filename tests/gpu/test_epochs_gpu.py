"""The benchmark of whole epochs on a GPU: every way is right there and is timed."""

from __future__ import annotations

import pytest
import torch

from m2t_fast.benchmarking import epochs, measure
from m2t_fast.benchmarking.case import LOOP, PLAIN
from m2t_fast.benchmarking.epochs import OURS, Epoch


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_epoch_on_the_gpu(dtype, monkeypatch):
    monkeypatch.setattr(epochs, "_BLOCK", 0.0)
    monkeypatch.setattr(measure, "_REPEAT_BELOW", 0.0)
    # So small a model in bfloat16 may say other words.
    monkeypatch.setattr(epochs, "TOLERANCE", {torch.float32: 1e-3, torch.bfloat16: 0.1})
    epoch = Epoch("tiny", torch.device("cuda"), dtype=dtype)
    epoch.measure((LOOP, PLAIN), budget=60.0, rounds=1)
    found = epoch.document()
    assert found["notes"] == {} and set(found["ways"]) == {OURS, LOOP, PLAIN}
    assert epoch.measure_full(OURS) > 0 and epoch.measure_validation() > 0
