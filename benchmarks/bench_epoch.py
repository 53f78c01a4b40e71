"""The trainer's step on the most common batch of an epoch at the paper's sizes, beside other implementations.

``benchmarks/train.py`` makes whole epochs of such steps.
"""

from __future__ import annotations

import functools

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from m2t_fast.benchmarking.case import LOOP
from m2t_fast.benchmarking.epochs import WAYS, Epoch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.lru_cache(maxsize=1)
def _epoch(size: str) -> Epoch:
    return Epoch(size, DEVICE)


@pytest.mark.parametrize("kind", WAYS)
def bench_epoch_step(benchmark: BenchmarkFixture, size: str, kind: str) -> None:
    """Losses are compared with the trainer's before anything is timed."""
    step = _epoch(size).commonest(kind)

    def run() -> None:
        step()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    benchmark.pedantic(run, rounds=1 if kind == LOOP else 5)
