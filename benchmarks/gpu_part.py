"""Where GPU benchmarks measure, the cells they consist of, and a stopwatch for calls and for their captured graphs."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from m2t_fast.ops.registry import why_unavailable

REHEARSAL = "M2T_FAST_REHEARSAL"
"""Environment variable: a processor stands for the device, to try everything but speed (gpu_rehearsal.py)."""
REPLAYED_BELOW = 20.0
"""Milliseconds of a call from which on Python's share of it is none, and no graph is captured."""


class Device(NamedTuple):
    """Where tensors are to be, and the name that results bear."""

    where: str
    name: str


class Cell(NamedTuple):
    """One row of a section's table in one way."""

    row: dict[str, Any]
    """What names the row: sizes, dtype, and so on."""
    way: str
    key: bool
    """Whether it is among those that matter most."""
    compiled: bool = False
    """Whether it compiles for half a minute: such cells come in a call of their own."""

    @property
    def name(self) -> str:
        """In words."""
        return f"{' '.join(str(value) for value in self.row.values())}: {self.way}"


class Section(NamedTuple):
    """One part of the benchmarks: a module of this folder."""

    name: str
    cells: Callable[[], Iterator[Cell]]
    """All cells, those that matter most first, all ways of a row one after the other."""
    measure: Callable[[Cell, Device], dict[str, Any]]
    """What is found for a cell, JSON-ready; {"note": why} where it is not timed."""


@functools.cache
def find() -> Device:
    """The device of this process.

    Raises:
        SystemExit: there is none, or no Triton.
    """
    if os.environ.get(REHEARSAL):
        import gpu_standin

        return Device(*gpu_standin.install())
    reason = why_unavailable("triton") or (None if torch.cuda.is_available() else "torch finds no CUDA device")
    if reason is not None:
        raise SystemExit(f"GPU benchmarks: {reason}")
    return Device("cuda", torch.cuda.get_device_name())


def software() -> dict[str, Any]:
    """What a number depends on beside the code and the device."""
    return {
        "torch": torch.__version__,
        "triton": importlib.metadata.version("triton"),
        "cuda": torch.version.cuda,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device != "cpu":
        torch.cuda.synchronize()


def warm_up(device: str, seconds: float) -> None:
    """Matrix products, so that the clocks are up: those of an idle device are a sixth of that."""
    if device == "cpu":
        return
    x = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(20):
            x @ x
        torch.cuda.synchronize()


def release(device: str) -> None:
    """Give back what a cell held."""
    torch.compiler.reset()
    if device != "cpu":
        torch.cuda.empty_cache()


def milliseconds(run: Callable[[], Any], device: str, warmup: int = 20, rep: int = 150) -> list[float]:
    """Median, 20th and 80th percentile of a call by the device's clock, the L2 cache flushed before each.

    ``warmup``, ``rep``: milliseconds of calls before the first and of those that are timed.
    """
    if device == "cpu":
        started = time.perf_counter()
        run()
        return [round(1e3 * (time.perf_counter() - started), 5)] * 3
    from triton.testing import do_bench

    return [round(x, 5) for x in do_bench(run, warmup=warmup, rep=rep, quantiles=[0.5, 0.2, 0.8])]


def timed(run: Callable[[], Any], device: str, replayed: bool = True) -> dict[str, Any]:
    """``call``: the times of a call, and ``replay``: of its captured graph, in which Python has no part.

    Args:
        replayed: whether the call may be captured: it neither waits for the device nor depends on its values.
    """
    warm_up(device, 0.2)
    found: dict[str, Any] = {"call": milliseconds(run, device)}
    if replayed and found["call"][0] < REPLAYED_BELOW:
        replays(found, "replay", run, device)
    return found


def replays(found: dict[str, Any], name: str, run: Callable[[], Any], device: str) -> None:
    """Adds the times of the captured graph of ``run``; where it cannot be captured the reason, and the times that were
    found before stand."""
    try:
        found[name] = milliseconds(captured(run, device), device)
    except RuntimeError as error:
        found[f"no_{name}"] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        failed_captures.append(found[f"no_{name}"])


failed_captures: list[str] = []
"""Of this process. What torch keeps of a capture that failed spoils later ones: the process is to be given up."""


def captured(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    """``run`` as a CUDA graph, after a call in the stream of captures that makes what a capture may not."""
    if device == "cpu":
        return run
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = run()

    def replay() -> Any:
        graph.replay()
        return kept

    return replay


def milliseconds_waited(
    run: Callable[[], Any], device: str, least: int = 5, most: int = 50, seconds: float = 1.0
) -> list[float]:
    """Wall time of a call that waits for the device: ``least`` calls, and more up to ``most`` within ``seconds``."""
    from m2t_fast.benchmarking.measure import quantile

    times: list[float] = []
    began = time.perf_counter()
    if device == "cpu":
        least, most = 1, 1
    while len(times) < least or (len(times) < most and time.perf_counter() - began < seconds):
        synchronize(device)
        before = time.perf_counter()
        run()
        synchronize(device)
        times.append(1e3 * (time.perf_counter() - before))
    return [round(quantile(times, q), 4) for q in (0.5, 0.2, 0.8)]


def peak_bytes(run: Callable[[], Any], device: str) -> int | None:
    """Peak memory of a call beyond what was held before it; None where the device does not count it."""
    if torch.device(device).type != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
