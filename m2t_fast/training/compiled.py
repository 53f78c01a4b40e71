"""``--compile``: torch.compile around the forward pass of a training step and its losses."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner, Draws
from m2t_fast.data.batches import Batch
from m2t_fast.data.buckets import BUCKETS
from m2t_fast.errors import UserError
from m2t_fast.losses import GuidedLoss
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import Losses, guided_losses, losses_and_gradients

BACKEND = "inductor"
"""What compiles; the tests also take one that needs no compiler."""


class CompiledGradients:
    """:func:`~m2t_fast.training.step.losses_and_gradients` compiled, as it is from the first thing that cannot be.

    Args:
        rows: B, samples of the batches to compile for; others run as they are.
        losses: what to compile.
    """

    def __init__(self, rows: int, losses: Losses = guided_losses):
        self.rows, self.plain = rows, losses
        self.losses: Losses | None = torch.compile(losses, fullgraph=True, backend=BACKEND)

    def __call__(
        self,
        model: Captioner,
        batch: Batch,
        draws: Draws,
        settings: TrainingSettings,
        relative: bool,
        shares: Tensor | None = None,
    ) -> GuidedLoss:
        """See there. A size that changes becomes a variable of the compiled code, where torch can do that."""
        if self.losses is not None and len(batch.tokens) == self.rows:
            try:
                # torch's own limit is 8: on the CPU its LSTM is compiled anew for every number of words.
                with torch._dynamo.config.patch(recompile_limit=2 * BUCKETS):
                    return losses_and_gradients(model, batch, draws, settings, relative, shares, self.losses)
            except _errors() as error:
                self.losses = None
                warnings.warn(f"--compile: {_why(error)}; training goes on without it", stacklevel=2)
        return losses_and_gradients(model, batch, draws, settings, relative, shares, self.plain)


def _errors() -> tuple[type[Exception], ...]:
    """What torch raises where it cannot compile; imported late, as this takes seconds."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return TorchDynamoException, FailOnRecompileLimitHit


def _why(error: BaseException) -> str:
    """One line: what was wrong in the first place."""
    while (inner := getattr(error, "inner_exception", None) or error.__cause__) is not None:
        error = inner
    return str(error).strip().partition("\n")[0]


def require_compiler(device: torch.device) -> None:
    """Compile something small, so that a missing compiler shows before anything is written.

    Raises:
        UserError: torch.compile cannot run here.
    """

    def small(x: Any) -> Any:
        return x.sin() + 1

    try:
        torch.compile(small, fullgraph=True, backend=BACKEND)(torch.zeros(4, device=device))
    except _errors() as error:
        raise UserError(f"--compile: torch.compile cannot run on {device.type} here: {_why(error)}") from error
