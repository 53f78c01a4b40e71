"""Cases of ``gated_decoder_step``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.cases.shared import arranged, record_of, targets
from m2t_fast.reference.gate import GateInputs
from m2t_fast.reference.gate_with_loss import GuidedGateInputs


@dataclass(frozen=True)
class GateCase:
    """Sizes of one ``gated_decoder_step`` call."""

    B: int = 2
    L: int = 5
    H: int = 8
    C: int = 6
    E: int = 4
    D: int = 7
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """The fourteen float inputs, in the op's order."""
        g = torch.Generator().manual_seed(seed)
        m = self.E + self.D + self.C + 1  # an output width that is no input's
        shapes = [
            (self.B, self.L, self.H), (self.B, self.L, self.C), (self.B, self.L, self.C), (self.B, self.L, self.E),
            (self.B, self.L, self.E), (self.C,), (self.E,), (), (self.D, self.H), (self.D,), (self.D, self.C),
            (self.D,), (m, self.E + self.D + self.C), (m,),
        ]  # fmt: skip
        return arranged(
            [torch.randn(shape, generator=g, dtype=torch.float64).to(dtype) for shape in shapes], self.layout
        )

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> GateInputs:
        """The inputs by name."""
        made: GateInputs = record_of(GateInputs, *self.inputs(dtype, seed))
        return made

    def guided(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        """The inputs of ``guided_decoder_step``, by name."""
        return GuidedGateInputs(*self.inputs(dtype, seed), gate_target=targets(self.B, self.L))


GATE_CASES = {
    "plain": GateCase(),
    "width-1": GateCase(H=1, C=1, E=1, D=1),
    "odd": GateCase(B=3, L=7, H=59, C=31, E=13, D=111),
    "no-batch": GateCase(B=0),
    "no-words": GateCase(L=0),
    "strided": GateCase(layout="strided"),
    "expanded": GateCase(layout="expanded"),
}

CASES = {"gated_decoder_step": GATE_CASES}
