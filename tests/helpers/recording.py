"""CUDA graphs without a GPU: what stands in for the recorder of a training engine, also in the processes of a job."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor

from m2t_fast.distributed import Processes
from m2t_fast.training.engine import Engine


class Recorder:
    """A capture runs the Python and leaves every tensor as it was, a replay runs the step.

    As with NCCL, a sum over processes waits for nobody while it is captured, and does when it is replayed.
    """

    def __init__(self, engine: Engine, failing_at: int | None = None):
        self.engine, self.failing_at = engine, failing_at
        self.warmed = self.captured = self.replayed = 0

    def warm(self, step: Callable[[], Tensor]) -> Tensor:
        self.warmed += 1
        return step()

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        state = [*self.engine._state(), self.engine.losses]
        before = [x.detach().clone() for x in state]
        with mock.patch.object(Processes, "sum", lambda self, values: values):
            step()
        if self.captured == self.failing_at:  # half of it has been done
            raise RuntimeError("operation not permitted when stream is capturing\nwith advice behind")
        with torch.no_grad():
            for x, value in zip(state, before, strict=True):
                x.copy_(value)

        def replay() -> None:
            self.replayed += 1
            step()

        return replay

    def done(self) -> Callable[[], bool]:
        return lambda: True
