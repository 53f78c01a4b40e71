"""Buckets and epoch plans: every sample once, full batches but one, little padding, all from seed and epoch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m2t_fast.data.batches import training_samples
from m2t_fast.data.buckets import BUCKETS, Bucket, Padding, PlannedBatch, choose_buckets, epoch_plan, padding
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.loading import load_data

Make = Callable[..., MotionDataset]


@pytest.fixture(scope="module")
def dataset() -> MotionDataset:
    return load_data("synthetic", synthetic_count={"train": 400, "val": 2, "test": 2}, joints=21)["train"]


def sizes(dataset: MotionDataset, samples: torch.Tensor) -> list[tuple[int, int]]:
    words = dataset.token_offsets.diff() - 1
    return list(zip(dataset.sample_lengths[samples].tolist(), words[samples].tolist(), strict=True))


def sorted_batches(dataset: MotionDataset, batch_size: int, epoch: int = 0) -> list[PlannedBatch]:
    """An epoch sorted by length, each batch padded to its longest, as ``training_batches`` makes it."""
    batches = training_samples(dataset, batch_size, 0, epoch)
    return [PlannedBatch(Bucket(*map(max, *sizes(dataset, own), (0, 0))), own) for own in batches]


@given(
    frames=st.lists(st.integers(1, 90), min_size=1, max_size=30),
    captions=st.lists(st.tuples(st.integers(0, 29), st.integers(1, 25)), max_size=60),
    batch_size=st.integers(1, 70),
    limit=st.integers(1, 12),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_any_split(make_split: Make, frames, captions, batch_size, limit, seed, epoch) -> None:
    split = make_split(frames, [(motion % len(frames), words) for motion, words in captions])
    buckets = choose_buckets(split, batch_size, limit)
    assert len(buckets) <= limit and len(set(buckets)) == len(buckets) and bool(buckets) == bool(captions)
    plan = epoch_plan(split, buckets, batch_size, seed, epoch)
    fitted = epoch_plan(split, buckets, batch_size, seed, epoch, fit=True)
    assert sorted(n for batch in plan for n in batch.samples.tolist()) == list(range(len(captions)))
    short = [len(captions) % batch_size] if len(captions) % batch_size else []
    assert sorted(len(b.samples) for b in plan) == short + [batch_size] * (len(captions) // batch_size)
    for (bucket, samples), (fit, same) in zip(plan, fitted, strict=True):
        longest = tuple(map(max, *sizes(split, samples), (0, 0)))
        assert bucket in buckets and torch.equal(samples, same) and samples.dtype == torch.int64
        assert fit == longest and fit.frames <= bucket.frames and fit.words <= bucket.words


def test_samples_are_in_the_smallest_bucket_that_holds_them_or_fill_a_larger_one(dataset: MotionDataset) -> None:
    buckets = choose_buckets(dataset, 16)
    assert 4 <= len(buckets) <= BUCKETS
    at_home = moved = 0
    for bucket, samples in epoch_plan(dataset, buckets, 16, 0, 0):
        if len(samples) == 16:
            for frames, words in sizes(dataset, samples):
                smallest = min(
                    (b for b in buckets if b.frames >= frames and b.words >= words), key=lambda b: b[0] * b[1]
                )
                at_home, moved = at_home + (smallest == bucket), moved + (smallest != bucket)
    # A bucket passes on less than a batch, and what it was passed first.
    assert 0 < moved < 16 * len(buckets) < at_home


def test_order_depends_on_seed_and_epoch_only(dataset: MotionDataset) -> None:
    buckets = choose_buckets(dataset, 16)
    assert choose_buckets(dataset, 16) == buckets

    def order(**changes: int) -> list[list[int]]:
        plan = epoch_plan(dataset, buckets, **{"batch_size": 16, "seed": 1, "epoch": 1, **changes})
        return [batch.samples.tolist() for batch in plan]

    assert order() == order()
    torch.manual_seed(3)
    assert order() == order()
    for other in (order(seed=2), order(epoch=2)):
        assert {frozenset(b) for b in other} != {frozenset(b) for b in order()}
    assert order(start=3) == order()[3:] and order(start=999) == []
    plan = epoch_plan(dataset, list(reversed(buckets)) + buckets[:1], 16, 1, 1)  # neither order nor repeats matter
    assert [batch.samples.tolist() for batch in plan] == order()


def test_batches_of_one_bucket_do_not_follow_each_other_in_a_block(dataset: MotionDataset) -> None:
    plan = epoch_plan(dataset, choose_buckets(dataset, 16), 16, 0, 0)
    changes = sum(a.bucket != b.bucket for a, b in zip(plan, plan[1:], strict=False))
    assert changes > len(plan) / 2


def test_the_short_batch_is_of_any_samples(dataset: MotionDataset) -> None:
    """Each of its samples weighs more than others; over many epochs they are the split's mixture of lengths."""
    buckets = choose_buckets(dataset, 64)
    assert len(dataset) % 64 > 10
    drawn = []
    for epoch in range(40):
        (short,) = [b for b in epoch_plan(dataset, buckets, 64, 0, epoch) if len(b.samples) < 64]
        drawn += [words for _, words in sizes(dataset, short.samples)]
    every = [words for _, words in sizes(dataset, torch.arange(len(dataset)))]
    mean = sum(every) / len(every)
    assert abs(sum(drawn) / len(drawn) - mean) < 0.05 * mean


def test_little_padding(dataset: MotionDataset) -> None:
    """Against batches sorted by length and cut to their own longest sample, whose captions are of any length."""
    for batch_size in (16, 64):
        ours = padding(dataset, epoch_plan(dataset, choose_buckets(dataset, batch_size), batch_size, 0, 0))
        sorted_by_length = padding(dataset, sorted_batches(dataset, batch_size))
        assert ours.words < sorted_by_length.words and ours.frames < 1.5


def test_bandai(bandai) -> None:
    split = load_data(bandai)["train"]
    for batch_size in (64, 128):
        ours = padding(split, epoch_plan(split, choose_buckets(split, batch_size), batch_size, 0, 0))
        theirs = padding(split, sorted_batches(split, batch_size))
        assert ours.work < 0.85 * theirs.work and ours.words < 1.3 and ours.frames < 1.35


def test_padding_counts(make_split: Make) -> None:
    split = make_split([4, 10], [(0, 2), (1, 3)])
    plan = [PlannedBatch(Bucket(10, 5), torch.tensor([0, 1]))]
    assert padding(split, plan) == Padding(20 / 14, 10 / 5, 100 / 38)
    with pytest.raises(ValueError, match="batches: got none"):
        padding(split, [])


def test_more_buckets_than_lengths_and_equal_lengths(make_split: Make) -> None:
    assert choose_buckets(make_split([7], [(0, 4)] * 9), 2) == [Bucket(7, 4)]
    few = choose_buckets(make_split([7, 9], [(0, 4), (1, 4), (1, 2)] * 9), 2)
    assert few[-1] == (9, 4) and set(few) <= {(7, 4), (9, 4), (9, 2), (7, 2)}
    assert choose_buckets(make_split([3], []), 2) == [] == epoch_plan(make_split([3], []), [], 2, 0, 0)


def test_long_motions_of_many_lengths(make_split: Make) -> None:
    frames = list(range(1, 3001, 10))
    split = make_split(frames, [(number, 3) for number in range(len(frames))])
    buckets = choose_buckets(split, 4)
    assert buckets[-1] == (frames[-1], 3)
    assert padding(split, epoch_plan(split, buckets, 4, 0, 0)).frames < 1.2


def test_bad_arguments(dataset: MotionDataset) -> None:
    buckets = choose_buckets(dataset, 4)
    for bad in ({"batch_size": 0}, {"seed": -1}, {"epoch": -1}, {"start": -1}, {"batch_size": 2.0}):
        arguments = {"batch_size": 4, "seed": 0, "epoch": 0, **bad}
        with pytest.raises(ValueError, match=f"{next(iter(bad))}: got"):
            epoch_plan(dataset, buckets, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit: got 0"):
        choose_buckets(dataset, 4, 0)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        choose_buckets(dataset, 0)
    too_small = [bucket._replace(words=2) for bucket in buckets]
    with pytest.raises(ValueError, match=r"buckets: got .*, expected one that holds \(\d+, \d+\)"):
        epoch_plan(dataset, too_small, 4, 0, 0)
    with pytest.raises(ValueError, match=r"expected one that holds \(70, 1\)"):
        epoch_plan(dataset, [*buckets, Bucket(70, 1)], 4, 0, 0)
    with pytest.raises(ValueError, match="buckets: got"):
        epoch_plan(dataset, [], 4, 0, 0)
