"""Resident splits: the batches of ``batch_of`` to the bit, in any shape that holds them, without looking at values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from m2t_fast import Captioner, CaptionerConfig, available_backends, use_backend
from m2t_fast.config import PAD
from m2t_fast.data.batches import Batch, batch_of
from m2t_fast.data.buckets import choose_buckets, epoch_plan
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.losses import guided_loss
from m2t_fast.ops.registry import DEVICE_TYPES
from m2t_fast.random import Counter
from m2t_fast.reference import gather_motions
from m2t_fast.reference.encoder import root_relative, valid_frames

Make = Callable[..., MotionDataset]
FRAMES = [9, 1, 30, 14, 2]
ON_CPU = pytest.mark.parametrize("backend", [name for name in available_backends() if "cpu" in DEVICE_TYPES[name]])
CAPTIONS = [(0, 4), (0, 1), (2, 9), (1, 2), (3, 5), (4, 7), (2, 3)]


@pytest.fixture(scope="module")
def dataset(make_split: Make) -> MotionDataset:
    return make_split(FRAMES, CAPTIONS)


def expected(dataset: MotionDataset, samples: torch.Tensor, dtype: torch.dtype = torch.float32) -> Batch:
    batch = batch_of(dataset, samples, timed=True)
    mask = valid_frames(batch.lengths, batch.motion.shape[1])[:, :, None, None]
    return batch._replace(motion=torch.where(mask, root_relative(batch.motion.to(dtype)), 0))


def assert_equal(batch: Batch, other: Batch) -> None:
    tensors = Batch._fields[:-1]
    for name, a, b in zip(tensors, batch[:-1], other[:-1], strict=True):
        assert a.dtype == b.dtype and torch.equal(a, b), name


@ON_CPU
@given(
    frames=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    captions=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12)), min_size=1, max_size=9),
    picks=st.lists(st.integers(0, 8), min_size=1, max_size=12),
    double=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_the_batches_of_batch_of(make_split: Make, backend: str, frames, captions, picks, double) -> None:
    """Lengths of all kinds, repeated samples, B = 1 and batches larger than the split."""
    dataset = make_split(frames, [(motion % len(frames), words) for motion, words in captions])
    samples = torch.tensor([pick % len(captions) for pick in picks])
    dtype = torch.float64 if double else torch.float32
    other = expected(dataset, samples, dtype)
    with use_backend(backend):
        split = ResidentSplit(dataset, dtype=dtype, timed=True)
        batch = split.batch(samples, other.motion.shape[1], other.gate_target.shape[1])
    assert_equal(batch, other)
    assert all(tensor.is_contiguous() for tensor in batch[:-1])


def test_times_are_there_where_they_are_asked_for_and_known(dataset: MotionDataset) -> None:
    samples = torch.tensor([0, 3])
    assert ResidentSplit(dataset).batch(samples, 40, 11).temporal_target is None
    unknown = dataclasses.replace(dataset, temporal_targets=None)
    assert batch_of(unknown, samples, timed=True).temporal_target is None
    assert batch_of(dataset, samples).temporal_target is None
    assert ResidentSplit(unknown, timed=True).batch(samples, 40, 11).temporal_target is None


def test_a_larger_shape_only_pads(dataset: MotionDataset) -> None:
    samples = torch.tensor([3, 0, 0, 4])
    other = expected(dataset, samples)
    batch = ResidentSplit(dataset, timed=True).batch(samples, 40, 11)
    assert batch.motion.shape == (4, 40, 21, 3) and batch.tokens.shape == (4, 12)
    assert batch.gate_target.shape == (4, 11) and batch.spatial_target.shape == (4, 11, 6)
    frames, words = other.motion.shape[1], other.gate_target.shape[1]
    assert torch.equal(batch.motion[:, :frames], other.motion) and not batch.motion[:, frames:].any()
    assert torch.equal(batch.tokens[:, : words + 1], other.tokens) and (batch.tokens[:, words + 1 :] == PAD).all()
    for name in ("gate_target", "spatial_target", "temporal_target"):
        own = getattr(batch, name)
        assert torch.equal(own[:, :words], getattr(other, name)) and (own[:, words:] == -1).all()
    assert torch.equal(batch.lengths, other.lengths) and torch.equal(batch.index, samples)
    empty = ResidentSplit(dataset).batch(samples[:0], 5, 4)
    assert empty.motion.shape == (0, 5, 21, 3) and empty.spatial_target.shape == (0, 4, 6)


@ON_CPU
def test_a_trace_of_one_batch_gives_any_other(dataset: MotionDataset, backend: str) -> None:
    """As a captured graph would: the shapes are fixed, and what is done does not depend on what is in the samples."""
    split, samples = ResidentSplit(dataset, timed=True), torch.tensor([0, 1, 2])

    def trace(function):
        # With fake tensors whatever asks for a value fails.
        return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(samples)

    with use_backend(backend):
        batch = trace(lambda numbers: tuple(split.batch(numbers, 30, 9)))
        motion = trace(lambda n: gather_motions(split.frames, split.frame_offsets, split.caption_motion[n], 30))
        for other in (samples, torch.tensor([6, 3, 3]), torch.tensor([2, 5, 4])):
            assert_equal(Batch(*batch(other)), split.batch(other, 30, 9))
            assert torch.equal(motion(other), split.batch(other, 30, 9).motion)


@ON_CPU
@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_the_model_reads_the_same(dataset: MotionDataset, backend: str, scoring: str) -> None:
    """Logits, losses and gradients to the bit, whether the encoder or the gather subtracts the root."""
    torch.manual_seed(0)
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=6)
    model = Captioner(CaptionerConfig(vocab_size=30, joints=21, scoring=scoring, **sizes))
    samples = torch.tensor([2, 3, 0, 2])
    absolute = batch_of(dataset, samples, timed=True)
    relative = ResidentSplit(dataset, timed=True).batch(
        samples, absolute.motion.shape[1], absolute.gate_target.shape[1]
    )
    found = []
    with use_backend(backend):
        draws = model.draw(4, absolute.gate_target.shape[1], 0.5, torch.Generator().manual_seed(1))
        for batch in (absolute, relative):
            model.zero_grad()
            inputs = batch.motion, batch.lengths, batch.tokens, draws
            out = model.run(*inputs, relative=batch.relative)
            folded = model.losses(batch, draws, folded=True)
            loss = guided_loss(out, batch.tokens, batch.lengths, batch.gate_target, batch.spatial_target)
            loss.total.backward()
            found.append([out.logits, *folded, *loss, *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@ON_CPU
def test_a_bucket_and_its_longest_sample_give_the_same_losses(make_split: Make, backend: str) -> None:
    """Also in training mode: a counter's numbers do not depend on the shape."""
    dataset = make_split([9, 3, 20, 14], [(n % 4, 1 + n % 7) for n in range(24)])
    split = ResidentSplit(dataset, dtype=torch.float64, timed=True)
    torch.manual_seed(0)
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=6)
    model = Captioner(CaptionerConfig(vocab_size=30, joints=21, **sizes)).double().train()
    buckets = choose_buckets(dataset, 8)
    plans = [epoch_plan(dataset, buckets, 8, 0, 0, fit=fit) for fit in (False, True)]
    assert any(whole.bucket != cut.bucket for whole, cut in zip(*plans, strict=True))
    found = []
    with use_backend(backend):
        for plan in plans:
            results = []
            for step, (bucket, samples) in enumerate(plan):
                batch = split.batch(samples, *bucket)
                draws = model.draw(len(samples), bucket.words, 0.5, Counter(3, step))
                out = model.run(batch.motion, batch.lengths, batch.tokens, draws, relative=True)
                loss = guided_loss(out, batch.tokens, batch.lengths, batch.gate_target, batch.spatial_target)
                results += [*loss, *torch.autograd.grad(loss.total, list(model.parameters()))]
            found.append(results)
    for whole, cut in zip(*found, strict=True):
        torch.testing.assert_close(whole, cut, rtol=1e-10, atol=1e-12)


def test_what_is_there(dataset: MotionDataset) -> None:
    split = ResidentSplit(dataset)
    assert len(split) == len(dataset) == len(CAPTIONS)
    assert split.frames.data_ptr() == dataset.frames.data_ptr()  # no second copy on the same device


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_offsets": torch.tensor([0, 9, 10, 40, 54, 57])}, "frame_offsets: expected to ascend from 0 to 56"),
        ({"frame_offsets": torch.tensor([0, 9, 9, 40, 54, 56])}, "frame_offsets: expected to ascend"),
        ({"token_offsets": torch.tensor([1, 38])}, "token_offsets: expected to ascend from 0 to 38"),
        ({"caption_motion": torch.tensor([0, 0, 2, 1, 3, 5, 2])}, "caption_motion: got 5, expected 0 to 4"),
        ({"caption_motion": torch.tensor([0, -1, 2, 1, 3, 4, 2])}, "caption_motion: got -1, expected 0 to 4"),
    ],
)
def test_a_split_that_does_not_fit_itself_is_refused(dataset: MotionDataset, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        ResidentSplit(dataclasses.replace(dataset, **changes))
