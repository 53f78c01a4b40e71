"""Peak memory of one way to compute a case: on a CUDA device what torch allocates there, else in a process of its own.

A process that has computed other things keeps some of their memory and fills its gaps with the next, so a peak measured
there depends on what ran before. A fresh process shows what a user's process would need. Compiled code, which holds
nothing but tensors, is the exception: compiling it again would take minutes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from m2t_fast.benchmarking.cases import case_of
from m2t_fast.benchmarking.sizes import SIZES

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def why_unmeasurable(device: torch.device) -> str | None:
    """Why peaks cannot be measured here, or None."""
    if device.type == "cuda":
        return None
    if sys.platform != "linux":
        return f"{sys.platform} does not tell the peak of a part of a process"
    try:
        _reset_peak()
    except OSError as error:
        return f"{_CLEAR_REFS}: {error.strerror}"
    return None


def peak_growth(function: Callable[[], object], device: torch.device) -> int:
    """Bytes that are held at most while ``function`` runs, beyond those held before.

    On the CPU that is the growth of the resident set: tensors, workspaces of kernels and what the allocator wastes.

    Raises:
        OSError: the system does not tell; see :func:`why_unmeasurable`.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # glibc keeps freed pages; other allocators have no such function, and keep little of large tensors.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    _reset_peak()
    before = _field(_STATUS, "VmRSS")
    function()
    return max(0, _field(_STATUS, "VmHWM") - before)


def peak_in_own_process(size: str, case: str, scoring: str, backward: bool, way: str, threads: int) -> int:
    """:func:`peak_growth` of one call on the CPU, in a fresh process; arguments as of ``case_of``, by name.

    Raises:
        RuntimeError: the process was ended from outside, most often because memory ran out.
    """
    # Forked from a process that has imported everything and computed nothing: a fresh one without seconds of imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            return pool.submit(_peak, size, case, scoring, backward, way, threads).result()
        except BrokenProcessPool:
            raise RuntimeError("its process was killed; out of memory?") from None


def _peak(size: str, name: str, scoring: str, backward: bool, way: str, threads: int) -> int:
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    case_of(name, SIZES["tiny"], scoring, device, backward).prepare(way)()  # loads what is loaded on first use
    return peak_growth(case_of(name, SIZES[size], scoring, device, backward).prepare(way), device)


def available(device: torch.device) -> int | None:
    """Bytes that can still be allocated, None where the system does not tell."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        return _field(Path("/proc/meminfo"), "MemAvailable")
    except (OSError, ValueError):
        return None


def _reset_peak() -> None:
    _CLEAR_REFS.write_text("5")  # proc(5): the peak resident set becomes the present one


def _field(path: Path, name: str) -> int:
    """A line ``NAME:  123 kB`` of a file in /proc, in bytes."""
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{path} has no line {name}")
