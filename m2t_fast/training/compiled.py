"""``--compile``: torch.compile around the forward pass of a training step and its losses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from m2t_fast.captioner import Captioner, Draws
from m2t_fast.data.batches import Batch
from m2t_fast.data.buckets import BUCKETS
from m2t_fast.errors import UserError
from m2t_fast.losses import Losses, TimedLosses

BACKEND = "inductor"
"""What compiles; the tests also take one that needs no compiler."""


class CompiledLosses:
    """Computes the losses of a step, compiled as long as torch can; after that the step runs without.

    Args:
        rows: B, samples of the batches to compile for; others run as they are.
        losses: what to compile.
    """

    def __init__(self, rows: int, losses: Callable[[Captioner, Batch, Draws], Losses | TimedLosses]):
        self.rows, self.failed = rows, False
        self._losses: Callable[[Captioner, Batch, Draws], Losses | TimedLosses]
        self._losses = torch.compile(losses, fullgraph=True, backend=BACKEND)

    def takes(self, batch: Batch) -> bool:
        """Whether a batch runs compiled."""
        return not self.failed and len(batch.tokens) == self.rows

    def __call__(self, model: Captioner, batch: Batch, draws: Draws) -> Losses | TimedLosses:
        """The losses. A size that changes becomes a variable of the compiled code, where torch can do that."""
        return self._losses(model, batch, draws)

    @contextmanager
    def as_long_as_it_can(self) -> Iterator[None]:
        """Around the losses and their gradients, which torch compiles when they are first asked for. A compilation
        error is reported once and ends the block; from then on no batch is taken."""
        try:
            # torch's own limit is 8: on the CPU its LSTM is compiled anew for every number of words.
            with torch._dynamo.config.patch(recompile_limit=2 * BUCKETS):
                yield
        except _errors() as error:
            self.failed = True
            warnings.warn(f"--compile: {_why(error)}; training goes on without it", stacklevel=4)


def _errors() -> tuple[type[Exception], ...]:
    """What torch raises where it cannot compile; imported late, as this takes seconds."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return TorchDynamoException, FailOnRecompileLimitHit


def _why(error: BaseException) -> str:
    """One line: the original cause."""
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
