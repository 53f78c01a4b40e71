"""What a section of the GPU benchmarks is given: where to measure, until when, where numbers go, and a stopwatch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Part(NamedTuple):
    """One section's part of a run."""

    device: str
    """Where its tensors are to be."""
    until: float
    """``time.monotonic()`` when its share of the budget is spent."""
    values: dict[str, Any]
    """Its own results, to be filled: numbers, and a list ``rows`` if it has a table."""
    results: dict[str, Any]
    """Those of the whole run, other sections' included."""
    save: Callable[[], None]
    """Writes what there is."""

    def spent(self) -> bool:
        """Whether nothing more is to be started."""
        return time.monotonic() > self.until


def milliseconds(run: Callable[[], Any]) -> list[float]:
    """Median, 20th and 80th percentile of a call, the L2 cache flushed before each."""
    from triton.testing import do_bench

    return [round(x, 5) for x in do_bench(run, warmup=20, rep=150, quantiles=[0.5, 0.2, 0.8])]


def peak_bytes(run: Callable[[], Any], device: str) -> int | None:
    """Most memory that a call holds beyond what was held before it; None where the device does not count it."""
    if torch.device(device).type != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
