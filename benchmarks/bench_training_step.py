"""A whole training step (teacher forcing, dropout, guided losses, backward, clip, AdamW) in every implementation."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("scoring", ["part", "frame"])
def bench_training_step(benchmark: BenchmarkFixture, checked, size: str, way: str, scoring: str) -> None:
    """Losses and gradients are compared with the step-by-step loop's before the step is timed."""
    benchmark.pedantic(checked("training_step", size, scoring, way), rounds=3)
