"""CUDA graphs of whole training steps: one per shape, captured once and replayed with other samples."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Recorder(Protocol):
    """Makes graphs of steps; the tests have one without a GPU."""

    def warm(self, step: Callable[[], Tensor]) -> Tensor:
        """Run ``step`` as it is, where what it allocates and chooses serves a later :meth:`capture`."""

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Record what ``step`` would do, without doing it; the result does it, from and to the same memory.

        Raises:
            RuntimeError: the step reads from the device, or does anything else that cannot be recorded.
        """

    def done(self) -> Callable[[], bool]:
        """A query that says, without waiting, whether all work started so far is done."""


class CudaRecorder:
    """Captures on a stream of its own; all graphs share one pool of memory.

    A graph leaves nothing in the pool that another, or eager code, is to read: what a step gives is copied to memory
    outside it. So graphs may be replayed in any order.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm(self, step: Callable[[], Tensor]) -> Tensor:
        """Run ``step`` on the stream of the captures, between what comes before and after it."""
        outside = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream):
            result = step()
        outside.wait_stream(self.stream)
        result.record_stream(outside)
        return result

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Record ``step``; the current stream and the first error are kept also where that fails."""
        torch.cuda.synchronize(self.device)
        gc.collect()
        torch.cuda.empty_cache()
        generator = torch.cuda.default_generators[self._index()]
        random = generator.get_state()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
            # Only this thread's mistakes count: another may copy a state to disk meanwhile.
            graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")
            try:
                step()
                graph.capture_end()
            except BaseException:
                self._abandon(graph, generator, random)
                raise
        return graph.replay

    def done(self) -> Callable[[], bool]:
        """Of the current stream, in which graphs are replayed."""
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device))
        return event.query

    def _index(self) -> int:
        return torch.cuda.current_device() if self.device.index is None else self.device.index

    def _abandon(self, graph: torch.cuda.CUDAGraph, generator: torch.Generator, random: Tensor) -> None:
        """End a capture that failed, as far as torch lets one.

        Where kernels failed, ending it raises again, before the allocator and the device's generator have been told:
        both would go on as if it still ran, and the generator would refuse to draw. What the allocator asks whether a
        stream is captured keeps a bare pointer to the graph. One that could be ended is emptied: NCCL's communicator
        outlives every graph that uses it.
        """
        _abandoned.append(graph)
        try:
            graph.capture_end()
        except RuntimeError:
            with contextlib.suppress(RuntimeError):
                torch._C._cuda_endAllocateToPool(self._index(), self.pool)
            fresh = torch.Generator(self.device)
            fresh.set_state(random)
            generator.graphsafe_set_state(fresh)  # the state itself, not its values: it knows of no capture
        else:
            graph.reset()


_abandoned: list[torch.cuda.CUDAGraph] = []


def recorder_for(device: torch.device) -> Recorder | None:
    """What makes graphs of steps on ``device``; None on devices that have none."""
    return CudaRecorder(device) if device.type == "cuda" else None
