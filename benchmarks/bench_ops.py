"""Every op, forward and backward, in every implementation; each is checked before it is timed."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from m2t_fast.benchmarking.sizes import OP_INPUTS, UNSCORED

CASES = [(name, mode) for name in OP_INPUTS for mode in (("part",) if name in UNSCORED else ("part", "frame"))]


@pytest.mark.parametrize(("name", "scoring"), CASES, ids=lambda value: value)
def bench_op(benchmark: BenchmarkFixture, checked, size: str, way: str, name: str, scoring: str) -> None:
    """``make bench PYTEST_ARGS="-k 'bench_op and kit and part_encoder'"`` runs a part of it."""
    benchmark.pedantic(checked(name, size, scoring, way), rounds=3)
