"""One training step taken by several processes together: the losses and the weights of a single process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.data.batches import Batch
from m2t_fast.data.buckets import Bucket
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.distributed import Processes
from m2t_fast.losses import GuidedLoss, supervised_counts
from m2t_fast.random import Counter
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import clip_and_update, losses_and_gradients, weighted


def shared_step(
    model: Captioner,
    optimizer: torch.optim.Optimizer,
    split: ResidentSplit,
    samples: Tensor,
    bucket: Bucket,
    settings: TrainingSettings,
    counter: Counter,
    processes: Processes,
    gradients: Callable[..., GuidedLoss] = losses_and_gradients,
) -> GuidedLoss:
    """One step over the batch of these sample numbers (B,), each process computing on every N-th of them.

    A process draws the random numbers of its own rows, the same as a single process does. Each mean of eq. 11-13 is
    over what is supervised in the whole batch: a process weights its own mean by its share of the count, and gradients
    and losses are summed. A process without rows takes part in the sums. The counts stay on the device.

    Args:
        samples: on the split's device. bucket: the shape of the batch.
        counter: source of the coins and dropout masks, of the same seed and step everywhere.
        gradients: ``losses_and_gradients``, or what does the same.

    Returns:
        the losses of the whole batch before the step, detached.

    Raises:
        JobError: another process has ended.
    """
    weight = model.embedding.weight
    rows = processes.share(torch.arange(len(samples), device=samples.device))
    batch = split.batch(samples[rows], *bucket) if len(rows) else None
    own = rows.new_zeros(3) if batch is None else _counts(batch)
    shares = (own.double() / processes.sum(own.clone()).clamp(min=1)).to(weight.dtype)

    losses = weight.new_zeros(3)
    if batch is None:
        model.zero_grad(set_to_none=True)
    else:
        draws = model.draw(len(rows), bucket.words, settings.teacher_forcing, counter.of_rows(rows))
        losses = torch.stack(gradients(model, batch, draws, settings, True, shares)[1:]).to(losses.dtype)
    parameters = list(model.parameters())
    own_gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    summed = processes.sum(torch.cat([losses, *(gradient.flatten() for gradient in own_gradients)]))
    losses, *pieces = summed.split([3, *(p.numel() for p in parameters)])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    clip_and_update(model, optimizer, settings)
    language, spatial, adaptive = losses.unbind()
    return GuidedLoss(weighted(language, spatial, adaptive, settings), language, spatial, adaptive)


def _counts(batch: Batch) -> Tensor:
    return supervised_counts(batch.tokens, batch.lengths, batch.gate_target, batch.spatial_target)
