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
from m2t_fast.errors import JobError
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
    sample numbers. A smaller batch is taken as it is. Without CUDA graphs, all are.

    Several processes capture the same shapes after the same steps, NCCL's sums among what is captured, and all or none
    of them replay a shape. :meth:`close` comes before the end of their job.

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
        self.graphs: dict[Bucket, Callable[[], None]] = {}
        weight = model.embedding.weight
        self.counter = Counter(settings.seed, step, weight.device)
        self.recorder = graphs.recorder_for(weight.device) if capture else None
        if self.recorder is not None and (reason := processes.unrecordable(weight.device)) is not None:
            self._go_without(reason)
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

    def wait(self) -> None:
        """Wait for the device where graphs hold sums over processes, for which no watch of NCCL's waits.

        Raises:
            JobError: another process does not take its part in time.
        """
        if self.recorder is not None and self.processes.size > 1:
            self.processes.wait(self.recorder.done())

    def close(self) -> None:
        """Release all graphs: NCCL waits for those that use a communicator before it destroys that."""
        self.graphs.clear()

    def _capture(self, recorder: graphs.Recorder, bucket: Bucket) -> None:
        """Capture the step of a shape, or, where that fails in any process, say why once and take steps as they are."""
        self.wait()
        state = self._state()
        before = [tensor.detach().clone() for tensor in state]
        reason = None
        try:
            self.graphs[bucket] = recorder.capture(lambda: self._recorded(bucket))
        except RuntimeError as error:
            # A sum that is captured waits for nobody: what it raises is not the loss of another process.
            cause = error.__cause__ if isinstance(error, JobError) else error
            reason = str(cause).strip().partition("\n")[0]
        finally:
            # They lie in the graphs' pool, where the next capture may write.
            self.optimizer.zero_grad(set_to_none=True)
        for rank, text in enumerate(self.processes.gather(reason)):
            if text is not None:
                self._go_without(text if rank == 0 else f"{text} (process {rank} of {self.processes.size})")
                with torch.no_grad():
                    for tensor, value in zip(state, before, strict=True):
                        tensor.copy_(value)
                return

    def _go_without(self, reason: str) -> None:
        self.recorder = None
        self.close()
        if self.processes.main:
            text = f"no CUDA graph of a training step: {reason}; training goes on without graphs, slower"
            warnings.warn(text, stacklevel=2)

    def _recorded(self, bucket: Bucket) -> None:
        self.losses.copy_(self._step(self.samples, bucket))

    def _state(self) -> list[Tensor]:
        """Every tensor that a step changes in place."""
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return [*self.model.parameters(), *(x for x in moments if isinstance(x, Tensor)), self.counter.state]
