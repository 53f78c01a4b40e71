"""One training step taken by several processes together: the losses and the weights of a single process."""

from __future__ import annotations

import torch

from m2t_fast.captioner import Captioner
from m2t_fast.data.batches import Batch
from m2t_fast.distributed import Processes
from m2t_fast.losses import Losses, TimedLosses, supervised_counts
from m2t_fast.random import Counter
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import AnyGuidedLoss, AnyLosses, TrainingStep


class SharedStep(TrainingStep):
    """A :class:`TrainingStep` over batches of which each process has a part.

    A process draws the random numbers of its own rows, the same as a single process does. Each mean of eq. 11-13 is
    over what is supervised in the whole batch: a process weights its own mean by its share of the count, and gradients
    and losses are summed. The counts stay on the device.

    Args:
        processes: that take every step together; the others as for :class:`TrainingStep`.
    """

    def __init__(
        self,
        model: Captioner,
        optimizer: torch.optim.Optimizer,
        settings: TrainingSettings,
        processes: Processes,
        dtype: torch.dtype = torch.float32,
        compiled_rows: int | None = None,
    ):
        super().__init__(model, optimizer, settings, dtype, compiled_rows)
        self.processes = processes

    def __call__(self, batch: Batch | None, generator: torch.Generator | Counter) -> AnyGuidedLoss:
        """Take one step.

        Args:
            batch: this process's rows of the batch; None for a process without, which takes part in the sums.
            generator: source of the coins and dropout masks of these rows, of the same seed and step everywhere.

        Returns:
            the losses of the whole batch before the step, detached.

        Raises:
            JobError: another process has ended.
        """
        model, processes = self.model, self.processes
        weight = model.embedding.weight
        count = 4 if self.settings.lambda_temp > 0 else 3
        own = torch.zeros(count, dtype=torch.int64, device=weight.device)
        if batch is not None:
            targets = batch.gate_target, batch.spatial_target, batch.temporal_target
            own = supervised_counts(batch.tokens, batch.lengths, *targets)
        shares = (own.double() / processes.sum(own.clone()).clamp(min=1)).to(weight.dtype)

        losses = weight.new_zeros(count)
        if batch is None:
            model.zero_grad(set_to_none=True)
        else:
            rows, words = batch.gate_target.shape
            draws = model.draw(rows, words, self.settings.teacher_forcing, generator)
            losses = torch.stack(self.losses_and_gradients(batch, draws, shares)[1:]).to(losses.dtype)
        parameters = list(model.parameters())
        own_gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        summed = processes.sum(torch.cat([losses, *(gradient.flatten() for gradient in own_gradients)]))
        losses, *pieces = summed.split([count, *(p.numel() for p in parameters)])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        self.update()
        made: AnyLosses = (Losses if count == 3 else TimedLosses)(*losses.unbind())
        return made.weighted(*self.settings.lambdas)
