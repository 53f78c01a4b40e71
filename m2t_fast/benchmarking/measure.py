"""Time: interleaved runs of several functions, and a loop that computes tanh and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch

from m2t_fast import native
from m2t_fast.ops.cpu import launch

_FLUSH_BYTES = 256 << 20
"""More than any device's L2 cache."""
_REPEAT_BELOW = 0.2
"""Seconds that a round gives every function."""
_MOST_REPEATS = 5


class Times(NamedTuple):
    """Of one function."""

    seconds: list[float]
    """Of every run: wall time, on a CUDA device the device's time."""
    processor: list[float]
    """Of every run: this process's processor time, all threads. Where other work shares the machine, its ratios are
    the steadier ones."""


def quantile(values: list[float], q: float) -> float:
    """The value below which a share ``q`` lies, interpolated between neighbours; 0.5 is the median."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, Times]:
    """Times of all functions, run in turns, so that what disturbs the machine disturbs them alike.

    Every function must have run once before. From the second round on, a short one runs several times a round.
    """
    timer = _on_cuda if device.type == "cuda" else _on_cpu
    times = {name: Times([], []) for name in functions}
    repeats = dict.fromkeys(functions, 1)
    for number in range(rounds):
        for name, function in functions.items():
            for _ in range(repeats[name]):
                wall, processor = timer(function, device)
                times[name].seconds.append(wall)
                times[name].processor.append(processor)
            if number == 0:
                repeats[name] = max(1, min(_MOST_REPEATS, int(_REPEAT_BELOW / max(wall, 1e-9))))
    return times


def _on_cpu(function: Callable[[], object], device: torch.device) -> tuple[float, float]:
    processor, wall = time.process_time(), time.perf_counter()
    function()
    wall = time.perf_counter() - wall
    return wall, time.process_time() - processor


def _on_cuda(function: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Time between two events on the device, from a cold L2 cache."""
    with torch.cuda.device(device):
        torch.empty(_FLUSH_BYTES, dtype=torch.int8, device=device).zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        processor = time.process_time()
        start.record()
        function()
        end.record()
        end.synchronize()
    return start.elapsed_time(end) / 1e3, time.process_time() - processor


def tanh_loop(count: int, device: torch.device) -> Callable[[], float] | None:
    """A function that makes about ``count`` tanh on all of torch's threads, in a bare loop of the cheapest form of the
    attention's tanh, and returns how many; None where there is no such loop (no CPU, no native extension).

    Nothing that sums tanh can be faster: ``csrc/cpu/rates_kernel.h``.
    """
    if device.type != "cpu" or launch.why_unavailable() is not None:
        return None
    # Python's threads start once per run, where OpenMP's would start at every call.
    threads, piece = torch.get_num_threads(), 128 * 256
    loop, repeats = native._native.tanh_sums_float32, -(-count // (threads * piece))

    def run() -> float:
        with ThreadPoolExecutor(threads) as pool:
            which = launch.instruction_set_number()
            return float(sum(pool.map(lambda _: loop(repeats * piece, which), range(threads))))

    return run
