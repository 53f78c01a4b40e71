"""``Counter``: the random numbers of training as a function of a seed, a step and a place in the batch."""

from __future__ import annotations

import torch
from torch import Tensor


class Counter:
    """A counter-based source of coins and dropout masks, for ``generator=`` of a captioner.

    Where a ``torch.Generator`` gives numbers in the order of the requests, this one gives every
    (seed, step, row of the batch, word, channel) its own: the same on every device and backend, whatever else is
    drawn. Drawing changes nothing; the next step's numbers come after :meth:`advance` or from another Counter.

    Args:
        seed: 0 <= seed < 2**64. step: 0 <= step < 2**32.
        device: where the numbers are to be made; a model's own.
        rows: (B,) int64 numbers of the batch's rows in a whole that others share; None: all rows, 0 to B - 1.

    Raises:
        ValueError: seed or step is out of range. TypeError: not an integer, or rows are not int64.
    """

    def __init__(self, seed: int, step: int = 0, device: str | torch.device = "cpu", rows: Tensor | None = None):
        _check("seed", seed, 64)
        _check("step", step, 32)
        signed = seed - (1 << 64) if seed >> 63 else seed
        self.state = torch.tensor([signed, step], device=device)
        """(2,) int64: seed and step. A captured CUDA graph reads them from here at every replay."""
        self.rows = None if rows is None else _checked_rows(rows).to(device)

    @property
    def device(self) -> torch.device:
        """Where the numbers are made."""
        return self.state.device

    def set_step(self, step: int) -> None:
        """Go to a step, in place and without waiting for the device."""
        _check("step", step, 32)
        self.state[1].fill_(step)

    def advance(self) -> None:
        """Go to the next step, in place on the device, so that a captured graph may do it."""
        self.state[1].add_(1)

    def of_rows(self, rows: Tensor) -> Counter:
        """The same numbers, sharing the seed and the step, for these rows (B,) int64 of a batch alone."""
        other = object.__new__(Counter)
        other.state, other.rows = self.state, _checked_rows(rows).to(self.device)
        return other


def _check(name: str, value: int, bits: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{name}: got {value}, expected 0 to 2**{bits} - 1")


def _checked_rows(rows: Tensor) -> Tensor:
    if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.dim() != 1:
        kind = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
        raise TypeError(f"rows must be an int64 tensor (B,), got {kind}")
    return rows
