"""One training step taken by several processes together: the losses and the weights of a single process."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner, Draws
from m2t_fast.data.batches import Batch, batch_of
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.distributed import Processes
from m2t_fast.losses import GuidedLoss, guided_loss, supervised_counts
from m2t_fast.training.settings import TrainingSettings


def shared_step(
    model: Captioner,
    optimizer: torch.optim.Optimizer,
    dataset: MotionDataset,
    samples: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
    processes: Processes,
    stop: bool = False,
) -> tuple[GuidedLoss, bool]:
    """One step over the batch of these sample numbers (B,), each process computing on every N-th of them.

    Random numbers are drawn for the whole batch, of which a process uses its rows. Each mean of eq. 11-13 is over what
    is supervised in the whole batch: a process weights its own mean by its share of the count, and gradients and losses
    are summed. A process without rows takes part in the sums.

    Args:
        generator: source of the coins and dropout masks, in the same state everywhere.
        stop: whether this process was asked to stop.

    Returns:
        the losses of the whole batch before the step, detached; and whether any process was asked to stop.

    Raises:
        JobError: another process has ended.
    """
    weight = model.embedding.weight
    words = int(dataset.token_offsets.diff()[samples].max()) - 1
    rows = processes.share(torch.arange(len(samples)))
    draws = model.draw(len(samples), words, settings.teacher_forcing, generator)
    batch = batch_of(dataset, samples[rows]) if len(rows) else None
    own = torch.zeros(3, dtype=torch.int64) if batch is None else supervised_counts(*_supervision(batch))
    # One sum tells the counts and whether to stop; on the CPU, so that no step waits for the device.
    *counts, stops = processes.sum(torch.cat([own, torch.tensor([int(stop)])])).tolist()
    shares = [mine / max(count, 1) for mine, count in zip(own.tolist(), counts, strict=True)]

    optimizer.zero_grad(set_to_none=True)
    losses = weight.new_zeros(3)
    if batch is not None:
        batch = batch.to(weight.device)
        used = _rows_of(draws, rows.to(weight.device), batch.gate_target.shape[1])
        out = model.run(batch.motion.to(weight.dtype), batch.lengths, batch.tokens, used)
        means = guided_loss(out, *_supervision(batch), settings.lambda_spat, settings.lambda_adapt)[1:]
        terms = [mean * share for mean, share in zip(means, shares, strict=True)]
        _total(terms, settings).backward()
        losses = torch.stack([term.detach().to(losses.dtype) for term in terms])
    parameters = list(model.parameters())
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    summed = processes.sum(torch.cat([losses, *(gradient.flatten() for gradient in gradients)]))
    losses, *pieces = summed.split([3, *(p.numel() for p in parameters)])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
    optimizer.step()
    return GuidedLoss(_total(losses.unbind(), settings), *losses.unbind()), stops > 0


def _supervision(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return batch.tokens, batch.lengths, batch.gate_target, batch.spatial_target


def _total(terms: list[Tensor] | tuple[Tensor, ...], settings: TrainingSettings) -> Tensor:
    """Eq. 14."""
    language, spatial, adaptive = terms
    return language + settings.lambda_spat * spatial + settings.lambda_adapt * adaptive


def _rows_of(draws: Draws, rows: Tensor, words: int) -> Draws:
    """The draws of these rows of the batch and of the first ``words`` words."""
    coins = None if draws.coins is None else draws.coins[:words]
    if draws.dropout is None:
        return Draws(coins, None)
    first, second = (mask[rows, :words] for mask in draws.dropout)
    return Draws(coins, (first, second))
