"""Cases of ``lstm_cells``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m2t_fast.ops.cases.shared import arranged
from m2t_fast.reference.lstm import LstmInputs


@dataclass(frozen=True)
class LstmCase:
    """Sizes of one ``lstm_cells`` call."""

    B: int = 3
    E: int = 4
    C: int = 6
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """The thirteen float inputs, in the op's order; weights of a trained model's size."""
        g = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return (torch.randn(shape, generator=g, dtype=torch.float64) / max(1, shape[-1]) ** 0.5).to(dtype)

        layers = [x for n in (self.E, self.C) for x in (normal(4 * self.C, n), normal(4 * self.C, self.C))]
        biases = [normal(4 * self.C) for _ in range(4)]
        weights = [*layers[:2], *biases[:2], *layers[2:], *biases[2:]]
        states = [normal(self.B, self.C) for _ in range(4)]
        return arranged([normal(self.B, self.E) * self.E**0.5, *states, *weights], self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> LstmInputs:
        """The inputs by name."""
        return LstmInputs(*self.inputs(dtype, seed))


LSTM_CASES = {
    "plain": LstmCase(),
    "one-row": LstmCase(B=1, E=8, C=8),
    "width-1": LstmCase(E=1, C=1),
    "odd": LstmCase(B=11, E=13, C=37),
    "wide": LstmCase(B=5, E=132, C=64),
    "no-batch": LstmCase(B=0),
    "strided": LstmCase(layout="strided"),
    "expanded": LstmCase(layout="expanded"),
}

CASES = {"lstm_cells": LSTM_CASES}
