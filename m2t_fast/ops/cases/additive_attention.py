"""Cases of ``additive_attention``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m2t_fast.ops.cases.attention import AttentionCase
from m2t_fast.ops.cases.shared import arranged
from m2t_fast.reference.additive_attention import AdditiveInputs


@dataclass(frozen=True)
class AdditiveCase:
    """Sizes of one ``additive_attention`` call; ``sharp`` multiplies the weight."""

    B: int = 2
    T: int = 9
    L: int = 5
    H: int = 8
    D: int = 7
    sharp: float = 1.0
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """query, keys, values, weight and lengths."""
        attention = AttentionCase(self.B, self.T, self.L, 1, 1, self.H, self.D, self.sharp).inputs(dtype, seed)
        parts, keys, _, query, _, weight, *_, lengths = attention
        return arranged([query, keys.squeeze(2), parts.squeeze(2), weight, lengths], self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> AdditiveInputs:
        """The inputs by name."""
        return AdditiveInputs(*self.inputs(dtype, seed))


ADDITIVE_CASES = {
    "plain": AdditiveCase(),
    "one-key": AdditiveCase(T=1),
    "one-query": AdditiveCase(L=1),
    "width-1": AdditiveCase(D=1, H=1),
    "odd": AdditiveCase(B=3, T=97, L=3, H=31, D=59),
    "sharp": AdditiveCase(T=40, D=20, sharp=10.0),
    "no-batch": AdditiveCase(B=0),
    "no-words": AdditiveCase(L=0),
    "strided": AdditiveCase(layout="strided"),
    "expanded": AdditiveCase(layout="expanded"),
}

CASES = {"additive_attention": ADDITIVE_CASES}
