"""Cases of ``spatial_loss``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m2t_fast.ops.cases.shared import arranged, ragged_lengths
from m2t_fast.reference.loss import LossInputs


@dataclass(frozen=True)
class LossCase:
    """Sizes of one ``spatial_loss`` call; ``supervised`` is the share of words with targets."""

    B: int = 3
    L: int = 5
    T: int = 7
    P: int = 6
    supervised: float = 0.5
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """spatial, target and lengths."""
        g = torch.Generator().manual_seed(seed)
        spatial = torch.randn(self.B, self.L, self.T, self.P, generator=g, dtype=torch.float64).mul(3).softmax(-1)
        target = torch.randint(0, 2, (self.B, self.L, self.P), generator=g)
        target[torch.rand(self.B, self.L, generator=g) >= self.supervised] = -1
        lengths = ragged_lengths(self.B, self.T, g)
        return arranged([spatial.to(dtype), target, lengths], self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> LossInputs:
        """The inputs by name."""
        return LossInputs(*self.inputs(dtype, seed))


LOSS_CASES = {
    "plain": LossCase(),
    "every-word": LossCase(supervised=1.0),
    "no-supervised-word": LossCase(supervised=0.0),
    "one-frame": LossCase(T=1),
    "one-part": LossCase(P=1),
    "no-batch": LossCase(B=0),
    "no-words": LossCase(L=0),
    "strided": LossCase(layout="strided"),
    "expanded": LossCase(layout="expanded"),
}

CASES = {"spatial_loss": LOSS_CASES}
