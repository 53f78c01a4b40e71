"""Loss curves of training on a GPU, captured steps and mixed precision included, against plain PyTorch on the CPU."""

from __future__ import annotations

import pytest
import torch

from m2t_fast import CaptionerConfig
from m2t_fast.benchmarking.curves import compare, loss_curve
from m2t_fast.data.loading import load_data
from m2t_fast.training.settings import TrainingSettings


@pytest.mark.parametrize("teacher_forcing", [1.0, 0.5])
def test_the_curves_of_the_device_and_of_the_processor_stay_together(teacher_forcing: float) -> None:
    data = load_data("synthetic", synthetic_count={"train": 24, "val": 4, "test": 2}, joints=21)
    sizes = dict(part_dim=16, attention_dim=16, hidden_size=16, embedding_dim=8)
    config = CaptionerConfig(len(data.vocabulary), joints=21, **sizes)
    settings = TrainingSettings(batch_size=8, teacher_forcing=teacher_forcing, learning_rate=2e-3)
    inputs = (data["train"], config, settings, 40)
    plain = loss_curve(*inputs, "reference")
    exact = loss_curve(*inputs, "triton", device="cuda")
    parted = compare(exact, plain, 1e-3).together
    near_tie = "; sampled words may have met a near tie there" if teacher_forcing < 1 else ""
    assert parted == 40, f"the curves part at step {parted}{near_tie}"
    assert compare(loss_curve(*inputs, "triton", device="cuda"), exact, 0.0).together == 40  # equal bits
    mixed = loss_curve(*inputs, "triton", torch.bfloat16, "cuda")
    assert compare(mixed, plain, 1e-3).final <= 0.02
    assert compare(loss_curve(*inputs, "reference", torch.bfloat16, "cuda"), plain, 1e-3).final <= 0.02
