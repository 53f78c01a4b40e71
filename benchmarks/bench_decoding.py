"""Captions of 64 motions, 40 words each, by greedy and beam search: one motion at a time and on every backend."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("name", ["greedy", "beam"])
def bench_decoding(benchmark: BenchmarkFixture, checked, size: str, way: str, name: str) -> None:
    """Captions, scores and attention are compared with those of one motion at a time before anything is timed."""
    benchmark.pedantic(checked(name, size, "part", way), rounds=3)
