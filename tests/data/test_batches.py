"""Batches: every sample once, aligned targets, buckets of similar length, and the same order for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2t_fast.data.batches import batch_count, batch_of, motion_batches, training_batches
from m2t_fast.data.dataset import MotionDataset, prepare
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.data.raw import Caption, RawData, RawMotion
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.skeleton import HUMANML3D

WORDS = ("a", "man", "waves", "forward", "and", "slowly")
TAGS = dict(zip(WORDS, ("DET", "NOUN", "VERB", "ADV", "CCONJ", "ADV"), strict=True))


def build(motions: int, longest: int = 60) -> MotionDataset:
    generator = np.random.default_rng(1)
    raw = []
    for number in range(motions):
        captions = []
        for _ in range(generator.integers(1, 4)):
            words = [str(w) for w in generator.choice(WORDS, generator.integers(1, 9))]
            captions.append(Caption(" ".join(words), tuple((w, TAGS[w]) for w in words)))
        joints = generator.normal(size=(generator.integers(1, longest), 22, 3)).astype(np.float32)
        raw.append(RawMotion(f"m{number}", joints, captions))
    return prepare(RawData(HUMANML3D, {"train": raw}, "here"), DataSettings(min_count=1))["train"]


@pytest.fixture(scope="module")
def dataset() -> MotionDataset:
    return build(60)


def test_every_sample_once(dataset: MotionDataset) -> None:
    for shuffle in (True, False):
        batches = list(training_batches(dataset, 16, seed=0, epoch=0, shuffle=shuffle))
        assert len(batches) == batch_count(dataset, 16) == -(-len(dataset) // 16)
        assert sorted(torch.cat([b.index for b in batches]).tolist()) == list(range(len(dataset)))
        sizes = sorted(len(b.index) for b in batches)
        assert sizes == sorted([len(dataset) % 16 or 16] + [16] * (len(batches) - 1))


def test_contents_of_a_batch(dataset: MotionDataset) -> None:
    batch = batch_of(dataset, torch.tensor([7, 0, 3]))
    shapes = (batch.lengths.max(), batch.tokens.shape[1])
    assert batch.motion.shape == (3, shapes[0], 22, 3) and batch.motion.dtype == torch.float32
    assert batch.gate_target.shape == (3, shapes[1] - 1) and batch.gate_target.dtype == torch.float32
    assert batch.spatial_target.shape == (3, shapes[1] - 1, 6) and batch.spatial_target.dtype == torch.float32
    assert batch.index.tolist() == [7, 0, 3] and batch.lengths.dtype == batch.tokens.dtype == torch.int64
    for row, sample in enumerate(batch.index.tolist()):
        frames = dataset.motion(int(dataset.caption_motion[sample]))
        assert torch.equal(batch.motion[row, : len(frames)], frames) and batch.lengths[row] == len(frames)
        assert not batch.motion[row, len(frames) :].any()
        piece = slice(int(dataset.token_offsets[sample]), int(dataset.token_offsets[sample + 1]))
        length = piece.stop - piece.start
        assert torch.equal(batch.tokens[row, :length], dataset.tokens[piece])
        assert not batch.tokens[row, length:].any()
        assert torch.equal(batch.gate_target[row, : length - 1], dataset.gate_targets[piece][1:].float())
        assert torch.equal(batch.spatial_target[row, : length - 1], dataset.spatial_targets[piece][1:].float())
        assert (batch.gate_target[row, length - 1 :] == -1).all() and (
            batch.spatial_target[row, length - 1 :] == -1
        ).all()
    moved = batch.to("cpu")
    assert type(moved) is type(batch) and torch.equal(moved.motion, batch.motion)
    for wrong in (-1, len(dataset)):
        with pytest.raises(ValueError, match=f"index: got {wrong}"):
            batch_of(dataset, torch.tensor([wrong]))


def test_similar_lengths_share_a_batch(dataset: MotionDataset) -> None:
    ranges = sorted((int(b.lengths.min()), int(b.lengths.max())) for b in training_batches(dataset, 8, seed=5, epoch=2))
    # Sorted batches touch at most; the noise lets neighbours overlap by less than its four frames.
    assert all(low > high - 4 for (_, high), (low, _) in zip(ranges, ranges[1:], strict=False))
    lengths = torch.cat([b.lengths for b in training_batches(dataset, 8, seed=5, epoch=2, shuffle=False)])
    assert torch.equal(lengths, lengths.sort().values)


def test_order_depends_on_seed_and_epoch_only(dataset: MotionDataset) -> None:
    def order(**changes: int) -> list[list[int]]:
        arguments = {"batch_size": 8, "seed": 1, "epoch": 1, **changes}
        return [b.index.tolist() for b in training_batches(dataset, **arguments)]

    assert order() == order()
    torch.manual_seed(3)
    assert order() == order()
    for other in (order(seed=2), order(epoch=2)):
        assert other != order()
        assert {frozenset(b) for b in other} != {frozenset(b) for b in order()}
    assert order(start=3) == order()[3:]
    assert order(start=999) == []


def test_the_small_batch_is_not_always_the_longest(dataset: MotionDataset) -> None:
    small = []
    for epoch in range(8):
        batches = list(training_batches(dataset, 32, seed=0, epoch=epoch))
        small.append(int(min(batches, key=lambda b: len(b.index)).lengths.max()))
    assert min(small) < int(dataset.motion_lengths.max()) / 2 < max(small)


def test_motion_batches(dataset: MotionDataset) -> None:
    batches = list(motion_batches(dataset, 7))
    index = torch.cat([b.index for b in batches])
    lengths = torch.cat([b.lengths for b in batches])
    assert sorted(index.tolist()) == list(range(dataset.motions))
    assert torch.equal(lengths, lengths.sort().values) and torch.equal(lengths, dataset.motion_lengths[index])
    for batch in batches:
        assert batch.motion.shape == (len(batch.index), int(batch.lengths.max()), 22, 3)
        for row, number in enumerate(batch.index.tolist()):
            assert torch.equal(batch.motion[row, : batch.lengths[row]], dataset.motion(number))
    assert torch.equal(batches[0].to("cpu").motion, batches[0].motion)


def test_small_and_empty_splits() -> None:
    one = build(1, longest=2)
    (batch,) = training_batches(one, 64, seed=0, epoch=0)
    assert batch.motion.shape[:2] == (len(one), 1)
    raw = RawData(HUMANML3D, {"val": []}, "here")
    empty = prepare(raw, None, Vocabulary(["a"]), one.statistics)["val"]
    assert list(training_batches(empty, 4, seed=0, epoch=0)) == [] and list(motion_batches(empty, 4)) == []


def test_bad_arguments(dataset: MotionDataset) -> None:
    for bad in ({"batch_size": 0}, {"seed": -1}, {"epoch": -1}, {"start": -1}, {"batch_size": 2.0}):
        arguments = {"batch_size": 4, "seed": 0, "epoch": 0, **bad}
        with pytest.raises(ValueError, match=f"{next(iter(bad))}: got"):
            training_batches(dataset, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size: got 0"):
        motion_batches(dataset, 0)
