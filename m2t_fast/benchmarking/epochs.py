"""Epochs of training on data of the paper's sizes: the trainer's own step beside other ways to take it."""

from __future__ import annotations

import functools
import time
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch._dynamo
from torch import Tensor

from m2t_fast.benchmarking.captioners import CompiledCaptioner, StepwiseCaptioner, plain_pytorch
from m2t_fast.benchmarking.case import BASELINES, COMPILE, LOOP, PLAIN
from m2t_fast.benchmarking.measure import interleaved, quantile
from m2t_fast.benchmarking.paper_data import PAPER, paper_split, vocabulary_of
from m2t_fast.benchmarking.sizes import SIZES, Size, model_of
from m2t_fast.captioner import Captioner
from m2t_fast.data.buckets import BUCKETS, Bucket, choose_buckets, epoch_plan, padding
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.random import Counter
from m2t_fast.training.engine import Engine
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import TrainingStep, adamw
from m2t_fast.training.validation import Validation

OURS = "ours"
WAYS: dict[str, str] = {OURS: "the trainer's step", **BASELINES}
"""Every way to take a training step."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 3e-2}
"""Most that the losses of two ways may differ, as a share; words may be other ones where two all but tie."""

_SLOW = 5.0  # seconds of a step that is timed once
_BLOCK = 0.05  # seconds of steps that are timed together, one after the other
_MOST_IN_BLOCK = 20

Step = Callable[[Tensor, Bucket], Tensor]
"""Takes a step over samples (B,) int64 on the device, padded to a bucket; the losses (4,)."""


def settings_of(name: str, batch_size: int) -> TrainingSettings:
    """The paper's settings for a data set; with a learning rate so small that all ways keep the same weights."""
    preset = TrainingSettings.humanml3d if name == "humanml3d" else TrainingSettings.kit
    return preset(batch_size=batch_size, learning_rate=1e-30)


def step_of(
    way: str, size: Size, split: ResidentSplit, scoring: str = "part", dtype: torch.dtype = torch.float32
) -> Step:
    """One way to take steps, from the same weights with the same random numbers as every other; their data are on the
    device in every way.

    Args:
        dtype: float32, or bfloat16 for mixed precision: products under torch's autocast in every way.
    """
    settings = settings_of(size.name, size.batch)
    if way == OURS:
        model = model_of(size, scoring).to(split.device).train()
        return Engine(model, adamw(model, settings), split, settings, dtype=dtype).take
    kinds: dict[str, type[Captioner]] = {LOOP: StepwiseCaptioner, PLAIN: Captioner, COMPILE: CompiledCaptioner}
    model = model_of(size, scoring, kinds[way]).to(split.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    counter = Counter(settings.seed, 0, split.device)
    step = TrainingStep(model, optimizer, settings, dtype)

    def take(samples: Tensor, bucket: Bucket) -> Tensor:
        # Every bucket is compiled: beyond its limit torch.compile would leave them as they are.
        with plain_pytorch(), torch._dynamo.config.patch(recompile_limit=10 * BUCKETS):
            loss = step(split.batch(samples, *bucket), counter)
        counter.advance()
        return torch.stack(tuple(loss))

    return take


class Epoch:
    """One epoch of a data set of ``PAPER`` on a device, and what is timed of it.

    Args:
        name: of ``PAPER`` and ``SIZES``.
        scoring: "part" or "frame".
        dtype: as of :func:`step_of`.
    """

    def __init__(
        self, name: str, device: torch.device, scoring: str = "part", dtype: torch.dtype = torch.float32
    ) -> None:
        self.name, self.device, self.scoring, self.dtype, self.size = name, device, scoring, dtype, SIZES[name]
        self.vocabulary = vocabulary_of(self.size.config.vocab_size)
        self.dataset = paper_split(name, "train", self.size.config.joints, self.vocabulary)
        self.split = ResidentSplit(self.dataset, device)
        self.buckets = choose_buckets(self.dataset, self.size.batch)
        self.plan = epoch_plan(self.dataset, self.buckets, self.size.batch, 0, 0)
        self.counts = Counts(bucket for bucket, _ in self.plan)
        full = (planned for planned in reversed(self.plan) if len(planned.samples) == self.size.batch)
        self.batches = dict(iter(full))
        self.seconds: dict[Bucket, dict[str, float]] = {}
        """Of a step, by bucket and way: medians."""
        self.notes: dict[str, str] = {}
        """By way: why it has no time, or not in every bucket."""

    def shape(self, way: str, bucket: Bucket, samples: Tensor) -> Bucket:
        """What a batch is padded to: its bucket where few shapes matter, else what its samples have."""
        if way == COMPILE or (way == OURS and self.device.type == "cuda"):
            return bucket
        words = self.dataset.token_offsets.diff()[samples] - 1
        return Bucket(int(self.dataset.sample_lengths[samples].max()), int(words.max()))

    def measure(self, ways: Sequence[str], budget: float, rounds: int = 3) -> None:
        """Time a full batch of every bucket, the commonest first, alternating between implementations.

        Ours is timed in all; the others as long as ``budget`` seconds allow. An implementation whose losses differ from
        ours by more than ``TOLERANCE`` is not timed."""
        end = time.monotonic() + budget
        steps: dict[str, Step] = {}
        for bucket, _ in self.counts.most_common():
            if bucket not in self.batches:  # that of a short batch alone
                continue
            samples = self.batches[bucket]
            on_device, once = samples.to(self.device), dict[str, float]()
            runs: dict[str, Callable[[], object]] = {}
            for way in (OURS, *ways):
                if way in runs or self._out_of_time(way, end):
                    continue
                shape = self.shape(way, bucket, samples)
                try:
                    if way not in steps:
                        steps[way] = self._checked_step(way, on_device, bucket, samples)
                    steps[way](on_device, shape)  # compiles, captures, fills caches
                    run = functools.partial(steps[way], on_device, shape)
                    once[way] = interleaved({way: run}, 1, self.device)[way].seconds[0]
                    runs[way] = run
                except Exception as error:  # one way's failure must not cost the others their numbers
                    self.notes[way] = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            self.seconds[bucket] = {**once, **_medians(runs, once, rounds, self.device)}

    def commonest(self, way: str) -> Callable[[], Tensor]:
        """A function that takes a step of this way on a batch of the commonest bucket, after a first one.

        Raises:
            ArithmeticError: the way's losses are not ours.
        """
        bucket = next(bucket for bucket, _ in self.counts.most_common() if bucket in self.batches)
        samples = self.batches[bucket]
        on_device = samples.to(self.device)
        step = self._checked_step(way, on_device, bucket, samples)
        return functools.partial(step, on_device, self.shape(way, bucket, samples))

    def _out_of_time(self, way: str, end: float) -> bool:
        if way == OURS:
            return False
        known = [times[way] for times in self.seconds.values() if way in times]
        if self.seconds and time.monotonic() + 3 * max(known, default=0.0) > end:
            self.notes.setdefault(way, "no time left for every bucket")
        return way in self.notes

    def _step(self, way: str) -> Step:
        return step_of(way, self.size, self.split, self.scoring, self.dtype)

    def _checked_step(self, way: str, on_device: Tensor, bucket: Bucket, samples: Tensor) -> Step:
        """A way to take steps, after its first."""
        step = self._step(way)
        found = step(on_device, self.shape(way, bucket, samples))
        if way != OURS:
            right = self._step(OURS)(on_device, self.shape(OURS, bucket, samples))
            if not bool(((found - right).abs() <= TOLERANCE[self.dtype] * right.abs()).all()):
                raise ArithmeticError(f"its losses are {found.tolist()}, ours {right.tolist()}")
        return step

    def measure_validation(self) -> float:
        """Seconds in which the validation split is captioned and scored, the second time."""
        model = model_of(self.size, self.scoring).to(self.device).train()
        dataset = paper_split(self.name, "val", self.size.config.joints, self.vocabulary)
        with ThreadPoolExecutor(1) as background:
            validation = Validation(model, dataset, self.vocabulary, self.size.batch, background)
            for _ in range(2):
                validation.start()
                seconds = validation.result()[1]
        return seconds

    def measure_full(self, way: str) -> float:
        """Seconds of all steps of an epoch, the second one: in the first are compilations and captures."""
        step = self._step(way)
        plan = [(samples.to(self.device), self.shape(way, bucket, samples)) for bucket, samples in self.plan]
        seconds = 0.0
        for _ in range(2):
            started = time.perf_counter()
            losses = [step(*batch) for batch in plan]
            if not bool(torch.stack(losses).isfinite().all()):  # waits for the device
                raise ArithmeticError(f"{way}: a loss is not finite")
            seconds = time.perf_counter() - started
        return seconds

    def estimate(self, way: str) -> float | None:
        """Seconds of all steps of an epoch: each bucket's median as often as the plan has batches of it. In a bucket in
        which a way was not timed its time is extrapolated from the buckets in which it was."""
        timed = [bucket for bucket, times in self.seconds.items() if way in times]
        if not timed:
            return None
        ours = sum(self.counts[bucket] * self.seconds[bucket][OURS] for bucket in timed)
        own = sum(self.counts[bucket] * self.seconds[bucket][way] for bucket in timed)
        # A bucket that only the short batch is of costs what the others cost.
        share = len(self.plan) / sum(self.counts[bucket] for bucket in self.seconds)
        return share * own / ours * sum(self.counts[bucket] * times[OURS] for bucket, times in self.seconds.items())

    def document(self) -> dict[str, Any]:
        """What was measured, JSON-ready."""
        ways = {}
        for way in WAYS:
            epoch = self.estimate(way)
            if epoch is not None:
                buckets = sum(way in times for times in self.seconds.values())
                ways[way] = {
                    "seconds_epoch": epoch,
                    "samples_per_second": len(self.dataset) / epoch,
                    "buckets_timed": buckets,
                }
        return {
            "data": PAPER[self.name].title,
            "scoring": self.scoring,
            "dtype": str(self.dtype).removeprefix("torch."),
            "samples": len(self.dataset),
            "batch_size": self.size.batch,
            "steps": len(self.plan),
            "padding": padding(self.dataset, self.plan)._asdict(),
            "ways": ways,
            "notes": self.notes,
            "buckets": [
                {"frames": frames, "words": words, "batches": self.counts[Bucket(frames, words)], "seconds": times}
                for (frames, words), times in self.seconds.items()
            ],
        }


def _medians(
    runs: Mapping[str, Callable[[], object]], once: Mapping[str, float], rounds: int, device: torch.device
) -> dict[str, float]:
    """Seconds of a step of the ways that are not slow: of several steps in a row, as training takes them."""
    count = {way: max(1, min(_MOST_IN_BLOCK, int(_BLOCK / once[way]))) for way in runs if once[way] < _SLOW}

    def block(way: str) -> Callable[[], object]:
        return lambda: [runs[way]() for _ in range(count[way])]

    times = interleaved({way: block(way) for way in count}, rounds, device)
    return {way: quantile(found.seconds, 0.5) / count[way] for way, found in times.items()}
