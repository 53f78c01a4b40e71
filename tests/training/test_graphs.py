"""How a CUDA graph is recorded, on a stand-in for torch.cuda: order, streams, and what a failure leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from m2t_fast.training import graphs


class Generator:
    """A device's generator: a number for its state, and whether a capture that it knows of runs."""

    def __init__(self, device):
        self.state, self.capturing = 7, False

    def get_state(self):
        assert not self.capturing
        return self.state

    def set_state(self, state):
        self.state = state

    def graphsafe_set_state(self, other):
        self.state, self.capturing = other.state, other.capturing


class Cuda:
    """Notes what is asked of it; a capture that has been spoilt cannot be ended."""

    def __init__(self):
        self.done: list[str] = []
        self.now = self.Stream(None, "outside")
        self.spoilt = False
        self.default_generators = [Generator("default")]
        cuda = self

        class CUDAGraph:
            def capture_begin(self, pool, capture_error_mode):
                cuda.done.append(f"begin on {cuda.now.name} in {pool}, {capture_error_mode}")
                cuda.default_generators[0].capturing = True

            def capture_end(self):
                cuda.done.append("end")
                if cuda.spoilt:
                    raise RuntimeError("operation failed due to a previous error during capture")
                cuda.default_generators[0].capturing = False

            def replay(self):
                cuda.done.append("replay")

            def reset(self):
                cuda.done.append("reset")

        self.CUDAGraph = CUDAGraph

    class Stream:
        def __init__(self, device, name="side"):
            self.name, self.waited_for = name, []

        def wait_stream(self, other):
            self.waited_for.append(other.name)

    class Event:
        def record(self, stream):
            self.stream = stream

        def query(self):
            return self.stream.name == "outside"

    @contextlib.contextmanager
    def stream(self, stream) -> Iterator[None]:
        before, self.now = self.now, stream
        try:
            yield
        finally:
            self.now = before

    def device(self, device):
        return contextlib.nullcontext()

    def current_stream(self, device=None):
        return self.now

    def current_device(self):
        return 0

    def graph_pool_handle(self):
        return "the pool"

    def synchronize(self, device):
        self.done.append("synchronize")

    def empty_cache(self):
        self.done.append("empty")


@pytest.fixture
def cuda(monkeypatch) -> Cuda:
    cuda = Cuda()
    ended = SimpleNamespace(_cuda_endAllocateToPool=lambda device, pool: cuda.done.append(f"{pool} ended"))
    monkeypatch.setattr(graphs, "torch", SimpleNamespace(cuda=cuda, _C=ended, Generator=Generator))
    monkeypatch.setattr(graphs, "_abandoned", [])
    return cuda


def recorder() -> graphs.CudaRecorder:
    return graphs.CudaRecorder(torch.device("cuda", 0))


def test_a_capture_is_begun_and_ended_around_the_step_alone(cuda):
    own = recorder()
    replay = own.capture(lambda: cuda.done.append(f"step on {cuda.now.name}"))
    assert cuda.done == ["synchronize", "empty", "begin on side in the pool, thread_local", "step on side", "end"]
    replay()
    assert cuda.done[-1] == "replay" and cuda.now.name == "outside" and not graphs._abandoned


@pytest.mark.parametrize("spoilt", [True, False])
def test_the_first_error_of_a_failed_capture_is_told(spoilt, cuda):
    def step():
        cuda.spoilt = spoilt
        cuda.default_generators[0].state = 8
        raise RuntimeError("not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        recorder().capture(step)
    # A capture that can be ended, as after running out of memory, tells allocator and generator itself.
    assert cuda.done[3:] == (["end", "the pool ended"] if spoilt else ["end", "reset"])
    assert not cuda.default_generators[0].capturing
    assert cuda.default_generators[0].state == (7 if spoilt else 8)  # nothing was drawn for it
    assert cuda.now.name == "outside" and len(graphs._abandoned) == 1


def test_an_error_at_the_end_of_a_capture_is_told(cuda):
    cuda.spoilt = True
    with pytest.raises(RuntimeError, match="previous error"):
        recorder().capture(lambda: None)
    assert cuda.done[-1] == "the pool ended" and cuda.now.name == "outside" and len(graphs._abandoned) == 1


def test_a_warm_step_lies_between_what_is_before_and_after_it(cuda):
    own, kept = recorder(), []
    result = SimpleNamespace(record_stream=lambda stream: kept.append(stream.name))
    assert own.warm(lambda: cuda.done.append(cuda.now.name) or result) is result
    assert cuda.done == ["side"] and kept == ["outside"]
    assert own.stream.waited_for == ["outside"] and cuda.now.waited_for == ["side"]


def test_what_is_done_is_asked_where_graphs_are_replayed(cuda):
    assert recorder().done()() and not cuda.done


def test_which_devices_have_graphs(cuda):
    assert graphs.recorder_for(torch.device("cpu")) is None and graphs.recorder_for(torch.device("meta")) is None
    assert isinstance(graphs.recorder_for(torch.device("cuda", 0)), graphs.CudaRecorder)
