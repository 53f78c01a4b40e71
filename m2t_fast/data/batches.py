"""Padded batches from ragged storage: length-bucketed samples for training, single motions for decoding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from m2t_fast.config import PAD
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.ragged import pad_ragged
from m2t_fast.data.supervision import UNSUPERVISED
from m2t_fast.data.timing import UNTIMED
from m2t_fast.distributed import ALONE, Processes

# Frames of noise on the lengths that samples are sorted by: enough to mix neighbours, little enough to pad hardly more.
_NOISE_FRAMES = 4.0


class Batch(NamedTuple):
    """B samples, padded to their longest motion (T) and caption (L+1 tokens).

    ``motion`` (B, T, J, 3) float32 standardised, 0 beyond the end; ``lengths`` (B,) int64; ``tokens`` (B, L+1) int64,
    <sos> ... <eos> <pad>; ``gate_target`` (B, L) and ``spatial_target`` (B, L, P) float32, aligned with
    ``tokens[:, 1:]``: 1, 0, or -1 where unsupervised; ``index`` (B,) int64, sample numbers; ``temporal_target``
    (B, L, 2) float32, start and end in kept frames of the segment that a word names, -1 and -1 for other words, None
    where no times are asked for or known; ``relative``: every joint but the root is relative to the root already, as a
    :class:`~m2t_fast.data.resident.ResidentSplit` gives them.
    """

    motion: Tensor
    lengths: Tensor
    tokens: Tensor
    gate_target: Tensor
    spatial_target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs of a batch
    temporal_target: Tensor | None = None
    relative: bool = False

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        moved: Any = [x.to(device, non_blocking=True) if isinstance(x, Tensor) else x for x in self]
        return Batch(*moved)


class MotionBatch(NamedTuple):
    """B motions: ``motion`` (B, T, J, 3) float32 standardised, ``lengths`` (B,) int64, ``index`` (B,) int64, motion
    numbers."""

    motion: Tensor
    lengths: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs of a batch

    def to(self, device: torch.device | str) -> MotionBatch:
        """The batch on another device."""
        return MotionBatch(*(tensor.to(device, non_blocking=True) for tensor in self))


def batch_of(dataset: MotionDataset, samples: Tensor, timed: bool = False) -> Batch:
    """The samples of these numbers (B,) int64 as one batch; ``timed``: with temporal targets, if the data set has any.

    Raises:
        ValueError: a number out of range.
    """
    tokens, _ = pad_ragged(dataset.tokens, dataset.token_offsets, samples, fill=PAD)
    gate, _ = pad_ragged(dataset.gate_targets, dataset.token_offsets, samples, fill=UNSUPERVISED)
    spatial, _ = pad_ragged(dataset.spatial_targets, dataset.token_offsets, samples, fill=UNSUPERVISED)
    motion, lengths = pad_ragged(dataset.frames, dataset.frame_offsets, dataset.caption_motion[samples])
    times = None
    if timed and dataset.temporal_targets is not None:
        padded, _ = pad_ragged(dataset.temporal_targets, dataset.token_offsets, samples, fill=UNTIMED)
        times = padded[:, 1:]
    targets = gate[:, 1:].float(), spatial[:, 1:].float()
    return Batch(motion, lengths, tokens, *targets, samples, temporal_target=times)


def batch_count(dataset: MotionDataset, batch_size: int) -> int:
    """How many batches ``training_batches`` makes of an epoch.

    Raises:
        ValueError: ``batch_size`` below 1.
    """
    _check("batch_size", batch_size, 1)
    return -(-len(dataset) // batch_size)


def training_batches(
    dataset: MotionDataset, batch_size: int, seed: int, epoch: int, shuffle: bool = True, start: int = 0
) -> Iterator[Batch]:
    """One epoch: the batches of :func:`training_samples`.

    Raises:
        ValueError: ``batch_size`` below 1, or ``seed``, ``epoch`` or ``start`` below 0.
    """
    samples = training_samples(dataset, batch_size, seed, epoch, shuffle, start)
    return (batch_of(dataset, numbers) for numbers in samples)


def training_samples(
    dataset: MotionDataset, batch_size: int, seed: int, epoch: int, shuffle: bool = True, start: int = 0
) -> Iterator[Tensor]:
    """One epoch: every sample once, in batches of motions of similar length; the sample numbers (B,) int64 of each.

    Samples are sorted by the length of their motion plus a little noise and cut into batches, one of them smaller if
    need be; batches come in random order. Order and noise depend on (``seed``, ``epoch``) only. ``shuffle=False``
    sorts without noise and keeps the order, as the released pipeline does. ``start`` leaves out the first batches.

    Raises:
        ValueError: ``batch_size`` below 1, or ``seed``, ``epoch`` or ``start`` below 0.
    """
    _check("seed", seed, 0)
    _check("epoch", epoch, 0)
    _check("start", start, 0)
    count = batch_count(dataset, batch_size)
    lengths = dataset.sample_lengths.numpy()
    sizes = np.full(count, batch_size)
    order = np.arange(count)
    short = count - 1
    if shuffle:
        generator = np.random.default_rng((seed, epoch))
        lengths = lengths + generator.uniform(0.0, _NOISE_FRAMES, len(lengths))
        order = generator.permutation(count)
        # The small batch falls on any length, else the longest motions would weigh more in every epoch.
        short = int(generator.integers(max(count, 1)))
    if count:
        sizes[short] -= count * batch_size - len(dataset)
    samples = torch.from_numpy(np.argsort(lengths, kind="stable"))
    ends = np.cumsum(sizes)
    return (samples[ends[number] - sizes[number] : ends[number]] for number in order[start:])


def motion_batches(dataset: MotionDataset, batch_size: int, processes: Processes = ALONE) -> Iterator[MotionBatch]:
    """Every motion once, shortest first; ``index`` says which motions a batch holds. Of several ``processes`` each
    gets its share of the motions.

    Raises:
        ValueError: ``batch_size`` below 1.
    """
    _check("batch_size", batch_size, 1)
    order = processes.share(torch.argsort(dataset.motion_lengths, stable=True))
    return (
        MotionBatch(*pad_ragged(dataset.frames, dataset.frame_offsets, index), index)
        for index in order.split(batch_size)
        if index.numel()
    )


def _check(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: got {value!r}, expected an integer of at least {least}")
