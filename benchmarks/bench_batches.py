"""An epoch's batches on the training device, gathered there or packed on the processor and copied; their padding."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from m2t_fast.data.batches import Batch, batch_of, training_samples
from m2t_fast.data.buckets import Bucket, PlannedBatch, choose_buckets, epoch_plan, padding
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.loading import load_data
from m2t_fast.data.resident import ResidentSplit

BATCH_SIZE = 128
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def split() -> MotionDataset:
    return load_data("synthetic", synthetic_count={"train": 3000, "val": 2, "test": 2}, joints=22)["train"]


@pytest.mark.parametrize("way", ["resident", "copied"])
def bench_batches(benchmark: BenchmarkFixture, way: str, split: MotionDataset) -> None:
    """10,488 samples. ``resident`` comes root-relative and in buckets, ``copied`` sorted by length, absolute."""
    resident = ResidentSplit(split, DEVICE)
    plan = epoch_plan(split, choose_buckets(split, BATCH_SIZE), BATCH_SIZE, 0, 0)
    if way == "copied":
        plan = [
            PlannedBatch(Bucket(batch.motion.shape[1], batch.gate_target.shape[1]), batch.index)
            for batch in (batch_of(split, samples) for samples in training_samples(split, BATCH_SIZE, 0, 0))
        ]
    numbers = [samples.to(DEVICE) for _, samples in plan]

    def epoch() -> Batch:
        if way == "copied":
            batches = [batch_of(split, samples).to(DEVICE) for _, samples in plan]
        else:
            batches = [resident.batch(own, *bucket) for own, (bucket, _) in zip(numbers, plan, strict=True)]
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        return batches[0]

    expected = batch_of(split, plan[0].samples)
    found = epoch()
    assert torch.equal(found.tokens[:, : expected.tokens.shape[1]].cpu(), expected.tokens)
    benchmark.extra_info.update({f"padding_{name}": value for name, value in padding(split, plan)._asdict().items()})
    benchmark(epoch)
