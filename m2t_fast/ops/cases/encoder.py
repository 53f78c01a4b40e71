"""Cases of ``part_encoder``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from m2t_fast.ops.cases.shared import arranged, record_of
from m2t_fast.reference.encoder import EncoderInputs


@dataclass(frozen=True)
class EncoderCase:
    """Sizes of one ``part_encoder`` call; ``parts`` may share joints."""

    B: int = 2
    T: int = 6
    J: int = 5
    D: int = 7
    half: int = 3
    parts: tuple[tuple[int, ...], ...] = ((0,), (0, 3), (1, 2, 4))
    relative: bool = False
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """motion, lengths, weight1, bias1, weight2, bias2."""
        g = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

        rows, count = 3 * sum(map(len, self.parts)), len(self.parts)
        lengths = torch.randint(1, self.T + 1, (self.B,), generator=g)
        lengths[:1] = self.T
        inputs = [
            normal(self.B, self.T, self.J, 3),
            lengths,
            normal(2, rows, self.D) / 2,
            normal(2, count, self.D),
            normal(2, count, self.D, self.half) / 2,
            normal(2, count, self.half),
        ]
        return arranged(inputs, self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> EncoderInputs:
        """The inputs by name."""
        made: EncoderInputs = record_of(EncoderInputs, *self.inputs(dtype, seed), self.parts, self.relative)
        return made


ENCODER_CASES = {
    "plain": EncoderCase(),
    "one-frame": EncoderCase(T=1),
    "width-1": EncoderCase(D=1, half=1),
    "one-part": EncoderCase(parts=((0, 1, 2, 3, 4),)),
    "relative": EncoderCase(relative=True),
    "no-batch": EncoderCase(B=0),
    "strided": EncoderCase(layout="strided"),
    "expanded": EncoderCase(layout="expanded"),
}

CASES = {"part_encoder": ENCODER_CASES}
