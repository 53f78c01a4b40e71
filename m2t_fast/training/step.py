"""One training step: scheduled-sampling decode, forward pass with its losses, backward pass, clipping and AdamW."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner, Draws
from m2t_fast.data.batches import Batch
from m2t_fast.losses import GuidedLoss, Losses, TimedGuidedLoss, TimedLosses
from m2t_fast.ops.casts import cast_once
from m2t_fast.random import Counter
from m2t_fast.training.compiled import CompiledLosses
from m2t_fast.training.settings import TrainingSettings

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
"""Dtypes of training. float16 is not one: its gradients underflow without loss scaling."""

AnyLosses = Losses | TimedLosses
AnyGuidedLoss = GuidedLoss | TimedGuidedLoss


def full_losses(model: Captioner, batch: Batch, draws: Draws) -> AnyLosses:
    """The losses of a checked batch, in the dtype of the weights."""
    return model.losses(batch, draws)


def mixed_losses(model: Captioner, batch: Batch, draws: Draws) -> AnyLosses:
    """:func:`full_losses` in mixed precision: products and ops in bfloat16, float32 weights, sums and losses."""
    # Without autocast's cache: a weight's copy made while decoding, without a gradient, would serve the forward pass.
    with (
        torch.autocast(batch.motion.device.type, torch.bfloat16, cache_enabled=False),
        cast_once(model.parameters(), torch.bfloat16),
    ):
        return model.losses(batch, draws)


def losses_in(dtype: torch.dtype) -> Callable[[Captioner, Batch, Draws], AnyLosses]:
    """The function that computes the losses of a step in ``dtype``; bfloat16 applies to the products alone."""
    return mixed_losses if dtype == torch.bfloat16 else full_losses


def weights_in(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the weights of a training in ``dtype``.

    Raises:
        ValueError: training cannot run in it.
    """
    if dtype not in DTYPES.values():
        expected = ", ".join(map(str, DTYPES.values()))
        raise ValueError(f"dtype: got {dtype}, expected one of {expected}")
    return torch.float32 if dtype == torch.bfloat16 else dtype


class TrainingStep:
    """Takes training steps of one model; nothing in one waits for the device.

    Args:
        model: in training mode whenever a step is taken.
        optimizer: of all its parameters.
        settings: weights of the losses, teacher forcing, clipping.
        dtype: of the arithmetic, that of the weights, or bfloat16 for mixed precision.
        compiled_rows: B, samples of the batches whose losses are compiled where the settings ask for that.
    """

    def __init__(
        self,
        model: Captioner,
        optimizer: torch.optim.Optimizer,
        settings: TrainingSettings,
        dtype: torch.dtype = torch.float32,
        compiled_rows: int | None = None,
    ):
        self.model, self.optimizer, self.settings = model, optimizer, settings
        self.losses = losses_in(dtype)
        self.compiled: CompiledLosses | None = None
        if settings.compile:
            self.compiled = CompiledLosses(compiled_rows or settings.batch_size, self.losses)

    def __call__(self, batch: Batch, generator: torch.Generator | Counter) -> AnyGuidedLoss:
        """Take one step.

        Args:
            batch: B samples on the model's device; their indices come from a checked data set.
            generator: source of the coins and dropout masks.

        Returns:
            The losses before the step, detached.
        """
        rows, words = batch.gate_target.shape
        draws = self.model.draw(rows, words, self.settings.teacher_forcing, generator)
        loss = self.losses_and_gradients(batch, draws)
        self.update()
        return loss

    def losses_and_gradients(self, batch: Batch, draws: Draws, shares: Tensor | None = None) -> AnyGuidedLoss:
        """The losses of a batch, detached; their gradients are left in the model's parameters.

        ``shares``: factors of the language, spatial and adaptive loss, and of the temporal one where there is one,
        those of a part of a batch; None: 1.
        """
        if self.compiled is not None and self.compiled.takes(batch):
            with self.compiled.as_long_as_it_can():
                return self._backward(self.compiled, batch, draws, shares)
        return self._backward(self.losses, batch, draws, shares)

    def _backward(
        self,
        losses_of: Callable[[Captioner, Batch, Draws], AnyLosses],
        batch: Batch,
        draws: Draws,
        shares: Tensor | None,
    ) -> AnyGuidedLoss:
        losses = losses_of(self.model, batch, draws)
        if shares is not None:
            losses = type(losses)(*(torch.stack(losses) * shares).unbind())
        loss = losses.weighted(*self.settings.lambdas)
        self.model.zero_grad(set_to_none=True)
        loss.total.backward()
        return type(loss)(*(value.detach() for value in loss))

    def update(self) -> None:
        """Scale the gradients down to the norm allowed and take the optimiser's step."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()


def adamw(model: Captioner, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW as one kernel where torch has that; on CUDA it counts its steps on the device, so that a graph can, and a
    learning rate that warms up lies there, too."""
    device = model.embedding.weight.device
    on_device = device.type == "cuda" and settings.warmup_steps > 0
    rate = settings.learning_rate
    return torch.optim.AdamW(
        model.parameters(),
        lr=torch.tensor(rate, device=device) if on_device else rate,
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
        capturable=device.type == "cuda",
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give the optimiser's next steps this learning rate, also those that a captured graph takes."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
