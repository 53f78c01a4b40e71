"""Cases of ``spatio_temporal_attention``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.cases.shared import arranged, normals, ragged_lengths, record_of, targets
from m2t_fast.reference.attention import AttentionInputs
from m2t_fast.reference.attention_with_loss import GuidedAttentionInputs


@dataclass(frozen=True)
class AttentionCase:
    """Sizes of one ``spatio_temporal_attention`` call; ``sharp`` multiplies the temporal weight."""

    B: int = 2
    T: int = 9
    L: int = 5
    P: int = 6
    S: int = 1
    H: int = 8
    D: int = 7
    sharp: float = 1.0
    scale: float = 1.0
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """The eight float inputs and the lengths, in the op's order; one length is T, the others are ragged."""
        g = torch.Generator().manual_seed(seed)
        normal = normals(g, dtype)
        rows = self.P if self.S == 1 else 1
        lengths = ragged_lengths(self.B, self.T, g)
        inputs = [
            torch.tanh(normal(self.B, self.T, self.P, self.H)),
            normal(self.B, self.T, self.S, self.D),
            normal(self.B, self.T, self.S, self.D),
            normal(self.B, self.L, self.D),
            normal(self.B, self.L, self.D),
            normal(self.D) * self.sharp,
            normal(rows, self.D),
            normal(rows),
            lengths,
        ]
        return arranged(inputs, self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> AttentionInputs:
        """The inputs by name."""
        made: AttentionInputs = record_of(AttentionInputs, *self.inputs(dtype, seed), self.scale)
        return made

    def guided(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        """The inputs of ``guided_attention``, by name."""
        target = targets(self.B, self.L, self.P)
        return GuidedAttentionInputs(*self.inputs(dtype, seed), spatial_target=target, scale=self.scale)


_SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one-frame": dict(T=1),
    "one-word": dict(L=1),
    "width-1": dict(D=1, H=1),
    "odd": dict(B=3, T=13, L=3, H=59, D=111),
    "prime": dict(B=3, T=97, L=3, H=31, D=59),
    "long-sharp": dict(B=1, T=2000, L=2, D=5, sharp=30.0),
    "one-hot": dict(T=17, sharp=3000.0),
    "no-batch": dict(B=0),
    "no-words": dict(L=0),
    "scaled": dict(scale=1 / 6),
    "gentle": dict(B=3, T=30, L=9, D=64, sharp=0.1),
    "strided": dict(layout="strided"),
    "expanded": dict(layout="expanded"),
}
ATTENTION_CASES = {
    f"{mode}-{name}": AttentionCase(S=slots, **sizes)
    for mode, slots in (("frame", 1), ("part", 6))
    for name, sizes in _SHAPES.items()
}

CASES = {"spatio_temporal_attention": ATTENTION_CASES}
