"""The loss curves of the fused and the plain path overlap; ``benchmarks/loss_curves.py`` shows it over 300 steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2t_fast.benchmarking.curves import compare, loss_curve
from m2t_fast.training.settings import TrainingSettings

STEPS = 30


@pytest.mark.parametrize("teacher_forcing", [1.0, 0.5])
def test_fused_and_plain_training_stay_together(teacher_forcing, data, config) -> None:
    settings = TrainingSettings(batch_size=8, teacher_forcing=teacher_forcing, learning_rate=4e-3)
    inputs = (data["train"], config, settings, STEPS)
    plain = loss_curve(*inputs, "reference")
    assert plain[-1, 0] < 0.9 * plain[0, 0]  # it learns, so that there is something to disagree about
    exact, mixed = loss_curve(*inputs), loss_curve(*inputs, dtype=torch.bfloat16)
    assert compare(exact, plain, 1e-3).together == STEPS
    for ours, theirs in zip(exact.T, plain.T, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    found = compare(mixed, plain, 1e-3)
    assert found.final <= 0.02 and found.largest > 0.0


def test_the_measures_of_a_difference() -> None:
    expected = np.full((50, 4), 2.0)
    found = expected.copy()
    found[30, 0] = 2.5
    difference = compare(found, expected, 1e-3)
    assert difference.largest == 0.25 and difference.together == 30
    assert difference.smoothed == pytest.approx(0.25 / 20) and difference.final == pytest.approx(0.25 / 20)
    found[7, 0] = np.nan  # nothing that is not a number is close to one
    assert compare(found, expected, 1e-3).together == 7
    assert np.isnan(compare(found, expected, 1e-3).largest)
    assert compare(expected, expected, 0.0) == (0.0, 50, 0.0, 0.0)
