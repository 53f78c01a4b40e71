"""The engine that takes training steps: whole steps in few shapes, on CUDA each shape one captured graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.data.buckets import Bucket, PlannedBatch
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.losses import GuidedLoss, TimedGuidedLoss
from m2t_fast.random import Counter
from m2t_fast.training import graphs
from m2t_fast.training.parallel import SharedStep
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import TrainingStep, set_learning_rate


class Engine:
    """Takes the steps of a run, one after the other; between two log intervals nothing waits for the device.

    The first full batch of a shape is taken as it is; it makes what a capture may not: compiled kernels, handles, the
    optimiser's moments. Then the shape's step is captured, and every later batch of it replays the graph over its
    sample numbers. A smaller batch is taken as it is. Where there are no CUDA graphs all are.

    Args:
        model: in training mode whenever a step is taken.
        optimizer: of all its parameters; what it has in its state stays where it is.
        split: the training samples, on the model's device.
        step: steps taken before; with the seed of the settings it decides on all random numbers of the next.
        processes: that take every step together.
        capture: use CUDA graphs where the device has them.
        dtype: of the arithmetic, that of the weights, or bfloat16 for mixed precision.
    """

    def __init__(
        self,
        model: Captioner,
        optimizer: torch.optim.Optimizer,
        split: ResidentSplit,
        settings: TrainingSettings,
        step: int = 0,
        processes: Processes = ALONE,
        capture: bool = True,
        dtype: torch.dtype = torch.float32,
    ):
        self.model, self.optimizer, self.split, self.processes = model, optimizer, split, processes
        self.settings, self.taken = settings, step
        weight = model.embedding.weight
        self.counter = Counter(settings.seed, step, weight.device)
        # Sums over the processes wait for the others: no graph can hold them.
        self.recorder = graphs.recorder_for(weight.device) if capture and processes.size == 1 else None
        rows = len(processes.share(torch.arange(settings.batch_size, device="cpu")))
        self.step: TrainingStep | SharedStep
        if processes.size == 1:
            self.step = TrainingStep(model, optimizer, settings, dtype, rows)
        else:
            self.step = SharedStep(model, optimizer, settings, processes, dtype, rows)
        # What graphs read and write, outside their pool.
        self.samples = torch.zeros(settings.batch_size, dtype=torch.int64, device=weight.device)
        self.losses = weight.new_zeros(
            len(GuidedLoss._fields if split.temporal_targets is None else TimedGuidedLoss._fields)
        )
        self.graphs: dict[Bucket, Callable[[], None]] = {}

    def steps(self, plan: Sequence[PlannedBatch]) -> Iterator[Tensor]:
        """Take the plan's steps, each when its losses (N,), in the order of ``GuidedLoss``, are asked for: N is 5 where
        times guide, else 4."""
        if not plan:
            return
        # All sample numbers go to the device at once: a copy from the host in every step would wait for it.
        numbers = torch.cat([samples for _, samples in plan]).to(self.samples.device)
        for (bucket, _), samples in zip(plan, numbers.split([len(samples) for _, samples in plan]), strict=True):
            yield self.take(samples, bucket)

    def take(self, samples: Tensor, bucket: Bucket) -> Tensor:
        """Take one step over the samples of these numbers (B,) int64, on the model's device, padded to ``bucket``.

        Returns:
            (N,): the losses before the step, in memory of their own.
        """
        if self.taken <= self.settings.warmup_steps:
            set_learning_rate(self.optimizer, self.settings.learning_rate_at(self.taken))
        self.taken += 1
        if self.recorder is None or len(samples) != len(self.samples):
            return self._step(samples, bucket)
        self.samples.copy_(samples)
        if bucket not in self.graphs:
            losses = self.recorder.warm(lambda: self._step(self.samples, bucket))
            self._capture(self.recorder, bucket)
            return losses
        self.graphs[bucket]()
        return self.losses.clone()

    def _step(self, samples: Tensor, bucket: Bucket) -> Tensor:
        if isinstance(self.step, SharedStep):
            rows = self.processes.share(torch.arange(len(samples), device=samples.device))
            batch = self.split.batch(samples[rows], *bucket) if len(rows) else None
            loss = self.step(batch, self.counter.of_rows(rows))
        else:
            loss = self.step(self.split.batch(samples, *bucket), self.counter)
        self.counter.advance()
        return torch.stack(tuple(loss))

    def _capture(self, recorder: graphs.Recorder, bucket: Bucket) -> None:
        """Capture the step of a shape, or, where that fails, say why once and take all steps as they are."""
        state = self._state()
        before = [tensor.detach().clone() for tensor in state]
        try:
            self.graphs[bucket] = recorder.capture(lambda: self._recorded(bucket))
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            text = f"no CUDA graph of a training step: {reason}; training goes on without graphs, slower"
            warnings.warn(text, stacklevel=2)
            self.recorder = None
            self.graphs.clear()
            with torch.no_grad():
                for tensor, value in zip(state, before, strict=True):
                    tensor.copy_(value)
        finally:
            # They lie in the graphs' pool, where the next capture may write.
            self.optimizer.zero_grad(set_to_none=True)

    def _recorded(self, bucket: Bucket) -> None:
        self.losses.copy_(self._step(self.samples, bucket))

    def _state(self) -> list[Tensor]:
        """Every tensor that a step changes in place."""
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return [*self.model.parameters(), *(x for x in moments if isinstance(x, Tensor)), self.counter.state]
