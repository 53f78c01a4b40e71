"""A split on a GPU: the bits of the CPU, nothing that waits for the device, and batches inside a captured graph."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from m2t_fast import ops, use_backend
from m2t_fast.data.batches import Batch
from m2t_fast.data.buckets import choose_buckets, epoch_plan
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.loading import load_data
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.ops.cases import GATHER_CASES

BACKENDS = pytest.mark.parametrize("backend", ["triton", "reference"])


@pytest.fixture(scope="module")
def dataset() -> MotionDataset:
    return load_data("synthetic", synthetic_count={"train": 60, "val": 2, "test": 2}, joints=22)["train"]


def assert_equal(batch: Batch, on_cpu: Batch) -> None:
    for name, a, b in zip(Batch._fields, batch, on_cpu, strict=True):
        assert a.is_cuda and a.dtype == b.dtype and torch.equal(a.cpu(), b), name


def without_waiting(function: Callable[[], Batch]) -> Batch:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        return function()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@BACKENDS
@pytest.mark.parametrize("case", GATHER_CASES)
def test_the_bits_of_the_cpu(case: str, backend: str) -> None:
    inputs = GATHER_CASES[case].inputs(torch.float32)
    expected = ops.gather_motions(*inputs[:3], GATHER_CASES[case].T, *inputs[3:])
    with use_backend(backend):
        moved = [x.cuda() for x in inputs]
        found = ops.gather_motions(*moved[:3], GATHER_CASES[case].T, *moved[3:])
    assert torch.equal(found.cpu(), expected)


@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_epoch_has_the_bits_of_the_cpu_and_waits_for_nothing(dataset, backend, dtype) -> None:
    on_cpu, on_gpu = ResidentSplit(dataset, "cpu", dtype), ResidentSplit(dataset, "cuda", dtype)
    for bucket, samples in epoch_plan(dataset, choose_buckets(dataset, 16), 16, 0, 0):
        numbers = samples.cuda()
        with use_backend(backend):
            on_gpu.batch(numbers, *bucket)  # compiles the kernel
            batch = without_waiting(lambda n=numbers, b=bucket: on_gpu.batch(n, *b))
        assert_equal(batch, on_cpu.batch(samples, *bucket))


@BACKENDS
def test_a_captured_batch_follows_its_buffer(dataset, backend) -> None:
    on_cpu, on_gpu = ResidentSplit(dataset), ResidentSplit(dataset, "cuda")
    bucket = choose_buckets(dataset, 16)[-1]
    numbers = torch.zeros(16, dtype=torch.int64, device="cuda")
    with use_backend(backend):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            on_gpu.batch(numbers, *bucket)  # compiles the kernel
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            batch = on_gpu.batch(numbers, *bucket)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        samples = torch.randint(0, len(dataset), (16,), generator=generator)
        numbers.copy_(samples)
        graph.replay()
        torch.cuda.synchronize()
        assert_equal(batch, on_cpu.batch(samples, *bucket))
