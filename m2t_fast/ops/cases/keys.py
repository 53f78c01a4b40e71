"""Cases of ``attention_keys``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m2t_fast.ops.cases.shared import arranged, normals, ragged_lengths
from m2t_fast.reference.attention import KeysInputs


@dataclass(frozen=True)
class KeysCase:
    """Sizes of one ``attention_keys`` call; S is 1 or P."""

    B: int = 3
    T: int = 6
    P: int = 6
    S: int = 1
    H: int = 5
    D: int = 7
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """parts, lengths, and weight and bias of the temporal and of the spatial keys."""
        g = torch.Generator().manual_seed(seed)
        normal = normals(g, dtype)
        inputs = self.H * self.P // self.S
        lengths = ragged_lengths(self.B, self.T, g)
        layer = [normal(self.D, inputs), normal(self.D), normal(self.D, inputs), normal(self.D)]
        return arranged([torch.tanh(normal(self.B, self.T, self.P, self.H)), lengths, *layer], self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> KeysInputs:
        """The inputs by name."""
        return KeysInputs(*self.inputs(dtype, seed))


KEYS_CASES = {
    "frame": KeysCase(),
    "part": KeysCase(S=6),
    "one-frame": KeysCase(T=1, S=6),
    "width-1": KeysCase(H=1, D=1),
    "odd": KeysCase(T=13, S=6, H=59, D=111),
    "no-batch": KeysCase(B=0),
    "strided": KeysCase(S=6, layout="strided"),
    "expanded": KeysCase(S=6, layout="expanded"),
}

CASES = {"attention_keys": KEYS_CASES}
