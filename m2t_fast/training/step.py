"""One training step in its parts: forward pass with its losses, backward pass, clipping and AdamW."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner, CaptionerOutput, Draws, GuidedOutput
from m2t_fast.data.batches import Batch
from m2t_fast.losses import GuidedLoss, guided_loss
from m2t_fast.ops.guided import is_fused
from m2t_fast.random import Counter
from m2t_fast.training.settings import TrainingSettings

DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "bfloat16")}
"""What training can run in. float16 is none: its gradients underflow without a scale that is looked after."""

Losses = Callable[[Captioner, Batch, Draws, TrainingSettings, bool, bool], GuidedLoss]
"""``guided_losses`` or ``mixed_losses``, or one of them compiled."""


def guided_losses(
    model: Captioner, batch: Batch, draws: Draws, settings: TrainingSettings, relative: bool, fused: bool
) -> GuidedLoss:
    """Scheduled-sampling decode, parallel forward and the three losses of a checked batch.

    Args:
        relative: the motions are as a ``ResidentSplit`` gives them.
        fused: the backend folds the losses into attention and gate. Nobody reads the attention here: it need not be
            written.
    """
    inputs = (batch.motion, batch.lengths, batch.tokens, draws)
    out: CaptionerOutput | GuidedOutput
    if fused:
        out = model.run_guided(*inputs, batch.gate_target, batch.spatial_target, relative)
    else:
        out = model.run(*inputs, relative)
    targets = (batch.tokens, batch.lengths, batch.gate_target, batch.spatial_target)
    return guided_loss(out, *targets, settings.lambda_spat, settings.lambda_adapt)


def mixed_losses(
    model: Captioner, batch: Batch, draws: Draws, settings: TrainingSettings, relative: bool, fused: bool
) -> GuidedLoss:
    """:func:`guided_losses` in mixed precision: products and ops in bfloat16, float32 weights, sums and losses."""
    # Without autocast's cache: a weight's copy made while decoding, without a gradient, would serve the forward pass.
    with torch.autocast(batch.motion.device.type, torch.bfloat16, cache_enabled=False):
        return guided_losses(model, batch, draws, settings, relative, fused)


def losses_in(dtype: torch.dtype) -> Losses:
    """What computes the losses of a step in ``dtype``: bfloat16 is that of the products alone."""
    return mixed_losses if dtype == torch.bfloat16 else guided_losses


def weights_in(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the weights of a training in ``dtype``.

    Raises:
        ValueError: training cannot run in it.
    """
    if dtype not in DTYPES.values():
        expected = ", ".join(map(str, DTYPES.values()))
        raise ValueError(f"dtype: got {dtype}, expected one of {expected}")
    return torch.float32 if dtype == torch.bfloat16 else dtype


def losses_and_gradients(
    model: Captioner,
    batch: Batch,
    draws: Draws,
    settings: TrainingSettings,
    relative: bool,
    shares: Tensor | None = None,
    losses: Losses = guided_losses,
) -> GuidedLoss:
    """The losses of a batch, detached; their gradients are left in the model's parameters.

    Args:
        relative: the motions are as a ``ResidentSplit`` gives them.
        shares: (3,) factors of the language, spatial and adaptive loss, those of a part of a batch; None: 1.
    """
    loss = losses(model, batch, draws, settings, relative, is_fused(batch.motion))
    if shares is not None:
        language, spatial, adaptive = (torch.stack(loss[1:]) * shares).unbind()
        loss = GuidedLoss(weighted(language, spatial, adaptive, settings), language, spatial, adaptive)
    model.zero_grad(set_to_none=True)
    loss.total.backward()
    return GuidedLoss(*(value.detach() for value in loss))


def weighted(language: Tensor, spatial: Tensor, adaptive: Tensor, settings: TrainingSettings) -> Tensor:
    """Eq. 14."""
    return language + settings.lambda_spat * spatial + settings.lambda_adapt * adaptive


def clip_and_update(model: Captioner, optimizer: torch.optim.Optimizer, settings: TrainingSettings) -> None:
    """Scale the gradients down to the norm allowed and take the optimiser's step."""
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()


def training_step(
    model: Captioner,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainingSettings,
    generator: torch.Generator | Counter,
    relative: bool = False,
    gradients: Callable[..., GuidedLoss] = losses_and_gradients,
) -> GuidedLoss:
    """One step: scheduled-sampling decode, parallel forward and backward, clipping, AdamW. It waits for no device.

    Args:
        batch: B samples on the model's device; their indices come from a checked data set.
        generator: source of the coins and dropout masks.
        relative: the motions are as a ``ResidentSplit`` gives them.
        gradients: :func:`losses_and_gradients`, or what does the same.

    Returns:
        The losses before the step, detached.
    """
    rows, words = batch.gate_target.shape
    draws = model.draw(rows, words, settings.teacher_forcing, generator)
    loss = gradients(model, batch, draws, settings, relative)
    clip_and_update(model, optimizer, settings)
    return loss


def adamw(model: Captioner, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW as one kernel where torch has that; on CUDA it counts its steps on the device, so that a graph can."""
    device = model.embedding.weight.device.type
    return torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=device in ("cpu", "cuda"),
        capturable=device == "cuda",
    )
