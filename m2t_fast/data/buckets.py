"""Shapes that training batches are padded to, and the plan of an epoch's batches in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from m2t_fast.data.dataset import MotionDataset

BUCKETS = 12
"""Most buckets of a data set: each costs a captured graph."""
_PRICE = 0.01  # what a bucket more must save, as a share of the work in the padded shapes
_LEVELS = 256  # lengths among which the bounds of buckets are looked for


class Bucket(NamedTuple):
    """A shape of batches: ``frames`` T, and ``words`` L, the tokens of a caption without the first."""

    frames: int
    words: int


class PlannedBatch(NamedTuple):
    """One batch: the bucket it is padded to, and its sample numbers (B,) int64 on the CPU."""

    bucket: Bucket
    samples: Tensor


class Padding(NamedTuple):
    """How much larger padded batches are than what is in them: 1 is no padding."""

    frames: float
    words: float
    work: float
    """Of frames times words, the size of the attention."""


def choose_buckets(dataset: MotionDataset, batch_size: int, limit: int = BUCKETS) -> list[Bucket]:
    """At most ``limit`` buckets for the lengths of a split, smallest first; the last holds every sample.

    The bounds of frames, and those of words, are the ones that pad least (among quantiles of the lengths). How many of
    each there are minimises the work, frames times words, of an epoch of :func:`epoch_plan`. Nothing is random.

    Raises:
        ValueError: ``batch_size`` or ``limit`` below 1.
    """
    _check("batch_size", batch_size, 1)
    _check("limit", limit, 1)
    if not len(dataset):
        return []
    sizes = _sizes(dataset)
    best: tuple[float, list[Bucket]] = (np.inf, [])
    rows = [_bounds(sizes[0], count) for count in range(1, limit + 1)]
    columns = [_bounds(sizes[1], count) for count in range(1, limit + 1)]
    for frames in rows:
        for words in columns[: limit // len(frames)]:
            grid = _ascending(Bucket(f, w) for f in frames for w in words)
            counts = np.bincount(_homes(sizes, grid), minlength=len(grid))
            used = [bucket for bucket, count in zip(grid[:-1], counts, strict=False) if count >= batch_size]
            buckets = [*used, grid[-1]]
            cost = _work(np.bincount(_homes(sizes, buckets), minlength=len(buckets)), buckets, batch_size)
            best = min(best, (cost * (1 + _PRICE * len(buckets)), buckets))
    return best[1]


def epoch_plan(
    dataset: MotionDataset,
    buckets: Sequence[Bucket],
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    fit: bool = False,
) -> list[PlannedBatch]:
    """One epoch: every sample once, in batches of one bucket each, in random order.

    All batches have ``batch_size`` samples but one, if that does not divide their number; it holds any samples. A
    sample is in the smallest bucket that holds it, or, where those left over fill no batch, in a larger one. All
    depends on (``seed``, ``epoch``) only.

    Args:
        buckets: as from :func:`choose_buckets`; one must hold all others.
        start: leaves out the first batches.
        fit: cut each batch's bucket to the longest motion and caption in it, where shapes need not repeat.

    Raises:
        ValueError: ``batch_size`` below 1, ``seed``, ``epoch`` or ``start`` below 0, or a sample or a bucket that the
            largest bucket does not hold.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("epoch", epoch, 0)):
        _check(name, value, least)
    _check("start", start, 0)
    if not len(dataset):
        return []
    sizes = _sizes(dataset)
    buckets = _ascending(buckets)
    _check_buckets(buckets, sizes)
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(dataset))
    # The short batch is of any samples, else those that fill no batch would weigh more in every epoch.
    short, rest = np.split(order, [len(order) % batch_size])
    homes = _homes(sizes, buckets)[rest]
    pools = [rest[homes == number] for number in range(len(buckets))]
    batches: list[tuple[Bucket, np.ndarray]] = []
    for number, pool in enumerate(pools):
        full = len(pool) - len(pool) % batch_size
        batches += [(buckets[number], rows) for rows in pool[:full].reshape(-1, batch_size)]
        if full < len(pool):
            above = _above(buckets, number)
            pools[above] = generator.permutation(np.concatenate([pools[above], pool[full:]]))
    if len(short):
        batches.append((buckets[int(_homes(sizes[:, short].max(axis=1, keepdims=True), buckets)[0])], short))
    if fit:
        batches = [(Bucket(*sizes[:, rows].max(axis=1).tolist()), rows) for _, rows in batches]
    chosen = (batches[number] for number in generator.permutation(len(batches))[start:])
    return [PlannedBatch(bucket, torch.from_numpy(rows)) for bucket, rows in chosen]


def padding(dataset: MotionDataset, batches: Iterable[PlannedBatch]) -> Padding:
    """The ratio of what the batches' shapes hold to what their samples need.

    Raises:
        ValueError: no batches.
    """
    sizes = _sizes(dataset)
    padded, real = np.zeros(3), np.zeros(3)
    for (frames, words), samples in batches:
        padded += len(samples) * np.array([frames, words, frames * words])
        own = sizes[:, samples.numpy()]
        real += [*own.sum(axis=1), own.prod(axis=0).sum()]
    if not real.all():
        raise ValueError("batches: got none, expected at least one")
    return Padding(*(padded / real).tolist())


def _sizes(dataset: MotionDataset) -> np.ndarray:
    """(2, M) int64: frames and words of every sample."""
    return torch.stack([dataset.sample_lengths, dataset.token_offsets.diff() - 1]).numpy()


def _ascending(buckets: Iterable[Bucket]) -> list[Bucket]:
    """The different buckets, smallest first: none holds one before it."""
    return sorted(set(buckets), key=lambda bucket: (bucket.frames * bucket.words, bucket))


def _holds(bucket: Bucket, other: Bucket) -> bool:
    return bucket.frames >= other.frames and bucket.words >= other.words


def _above(buckets: Sequence[Bucket], number: int) -> int:
    """The smallest bucket that holds this one."""
    return next(n for n in range(number + 1, len(buckets)) if _holds(buckets[n], buckets[number]))


def _homes(sizes: np.ndarray, buckets: Sequence[Bucket]) -> np.ndarray:
    """Which of ascending buckets is the smallest that holds each of (2, M) sizes: (M,) int64."""
    homes = np.full(sizes.shape[1], len(buckets) - 1)
    for number in reversed(range(len(buckets) - 1)):
        homes[(sizes[0] <= buckets[number].frames) & (sizes[1] <= buckets[number].words)] = number
    return homes


def _work(counts: np.ndarray, buckets: Sequence[Bucket], batch_size: int) -> float:
    """Frames times words of an epoch whose samples have these homes, padding included."""
    counts, work = counts.copy(), 0.0
    for number, bucket in enumerate(buckets):
        left = counts[number] % batch_size if number < len(buckets) - 1 else 0
        work += float(counts[number] - left) * bucket.frames * bucket.words
        if left:
            counts[_above(buckets, number)] += left
    return work


def _bounds(lengths: np.ndarray, count: int) -> list[int]:
    """At most ``count`` upper bounds, the last the longest, that (M,) lengths are padded to with the least padding."""
    ordered = np.sort(lengths)
    levels = np.unique(np.quantile(ordered, np.linspace(0, 1, _LEVELS), method="higher"))
    below = np.searchsorted(ordered, levels, side="right")
    # sums[j]: of the lengths up to level j, padded by the best bounds so far; cuts: where the last part begins.
    sums, cuts = (levels * below).astype(np.float64), []
    parts = np.where(np.tri(len(levels), k=0, dtype=bool), np.inf, levels * (below - below[:, None]).astype(np.float64))
    for _ in range(min(count, len(levels)) - 1):
        table = sums[:, None] + parts
        cuts.append(table.argmin(axis=0))
        sums = table.min(axis=0)
    bounds = [len(levels) - 1]
    for cut in reversed(cuts):
        bounds.append(int(cut[bounds[-1]]))
    return [int(levels[bound]) for bound in reversed(bounds)]


def _check_buckets(buckets: Sequence[Bucket], sizes: np.ndarray) -> None:
    longest = Bucket(*sizes.max(axis=1).tolist())
    for other in (longest, *buckets):
        if not buckets or not _holds(buckets[-1], other):
            raise ValueError(f"buckets: got {list(map(tuple, buckets))}, expected one that holds {tuple(other)}")


def _check(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: got {value!r}, expected an integer of at least {least}")
