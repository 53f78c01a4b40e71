"""Cases of ``gather_motions``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m2t_fast.ops.cases.shared import arranged
from m2t_fast.reference.gather import GatherInputs


@dataclass(frozen=True)
class GatherCase:
    """Sizes of one ``gather_motions`` call; ``standardise`` gives it a mean and a standard deviation."""

    B: int = 5
    T: int = 9
    J: int = 5
    motions: int = 4
    longest: int = 9
    standardise: bool = True
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """frames, offsets and index, and with ``standardise`` mean and std; one motion of one frame and a repeat."""
        g = torch.Generator().manual_seed(seed)
        lengths = torch.randint(1, self.longest + 1, (self.motions,), generator=g)
        lengths[:1], lengths[1:2] = self.longest, 1
        index = torch.randint(0, max(1, self.motions), (self.B,), generator=g)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        frames = torch.randn(int(offsets[-1]), self.J, 3, generator=g, dtype=torch.float64)
        inputs = [frames.to(dtype), offsets, index]
        if self.standardise:
            mean, std = torch.randn(2, 3, generator=g, dtype=torch.float64).to(dtype)
            inputs += [mean, std.abs() + 0.5]
        return arranged(inputs, self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> GatherInputs:
        """The inputs by name."""
        frames, offsets, index, *statistics = self.inputs(dtype, seed)
        return GatherInputs(frames, offsets, index, self.T, *statistics)


GATHER_CASES = {
    "plain": GatherCase(),
    "standardised": GatherCase(standardise=False),
    "one-frame": GatherCase(T=1, longest=1),
    "wide": GatherCase(T=40, standardise=False),
    "odd": GatherCase(B=7, T=131, J=21, motions=5, longest=131),
    "one-joint": GatherCase(J=1),
    "no-batch": GatherCase(B=0),
    "strided": GatherCase(layout="strided"),
    "expanded": GatherCase(layout="expanded"),
}

CASES = {"gather_motions": GATHER_CASES}
