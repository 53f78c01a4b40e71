"""Cases of ``search`` and ``sample_words``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import EOS
from m2t_fast.ops.cases.shared import normals, ragged_lengths
from m2t_fast.ops.decode import DecoderWeights


@dataclass(frozen=True)
class DecodeCase:
    """Sizes of a decoder and its motions. ``end`` is added to the logit of <eos>, ``keys`` multiplies the keys."""

    B: int = 5
    T: int = 9
    P: int = 6
    S: int = 6
    H: int = 8
    D: int = 7
    C: int = 6
    E: int = 5
    M: int = 11
    V: int = 13
    end: float = 0.0
    keys: float = 1.0

    def memory(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """Parts, both keys and lengths, one of which is T."""
        g = torch.Generator().manual_seed(seed)
        normal = normals(g, dtype)
        lengths = ragged_lengths(self.B, self.T, g)
        keys = (normal(self.B, self.T, self.S, self.D) * self.keys for _ in range(2))
        return [torch.tanh(normal(self.B, self.T, self.P, self.H)), *keys, lengths]

    def weights(self, dtype: torch.dtype = torch.float64, seed: int = 1) -> DecoderWeights:
        """Weights so large that captions differ from one another and end at different words."""
        g = torch.Generator().manual_seed(seed)
        rows = self.P if self.S == 1 else 1
        gates, dim, size = 4 * self.C, self.D, self.C
        shapes = [
            (self.V, self.E), (gates, self.E), (gates, size), (gates,), (gates,), (gates, size), (gates, size),
            (gates,), (gates,), (dim, size), (dim,), (dim, size), (dim,), (dim,), (rows, dim), (rows,), (size,),
            (self.E,), (), (dim, self.H), (dim,), (dim, size), (dim,), (self.M, self.E + dim + size), (self.M,),
            (self.V, self.M), (self.V,),
        ]  # fmt: skip
        weights = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
        weights[-1][EOS] += self.end
        return DecoderWeights(*(x.to(dtype) for x in weights))

    def sampling(self, words: int, dtype: torch.dtype = torch.float64, seed: int = 2) -> dict[str, Any]:
        """Reference words, coins and dropout factors."""
        g = torch.Generator().manual_seed(seed)
        kept = torch.rand((2, self.B, words, self.E), generator=g) < 0.7
        return dict(
            words=torch.randint(0, self.V, (self.B, words), generator=g),
            coins=torch.rand(words, generator=g) < 0.5,
            dropout=tuple((kept.to(dtype) / 0.7).unbind(0)),
        )


DECODE_CASES = {
    "part": DecodeCase(),
    "frame": DecodeCase(S=1),
    "one-frame": DecodeCase(T=1),
    "one-motion": DecodeCase(B=1),
    "no-motion": DecodeCase(B=0),
    "width-1": DecodeCase(H=1, D=1, C=1, E=1, M=1),
    "odd": DecodeCase(B=4, T=13, P=5, S=1, H=59, D=37, C=33, E=17, M=70, V=301),
    "small-vocabulary": DecodeCase(V=3),
    "never-ends": DecodeCase(end=-1e4),
    "ends-at-once": DecodeCase(end=1e4),
    "large-keys": DecodeCase(keys=20.0),
    "large-keys-frame": DecodeCase(S=1, keys=20.0),
    "many-motions": DecodeCase(B=150, T=4, D=3),
}
