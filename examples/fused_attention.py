"""The fused spatio-temporal attention in a model of your own: tokens of T frames x P parts, L queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2t_fast import ops


class Pooling(nn.Module):
    """L learned queries, each of which looks at some frames and some parts of a motion."""

    def __init__(self, size: int, queries: int, attention: int = 32):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, size))
        self.keys = nn.ModuleList(nn.Linear(size, attention) for _ in range(2))  # when, where
        self.asks = nn.ModuleList(nn.Linear(size, attention) for _ in range(2))
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(attention) / attention**0.5) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, parts: Tensor, lengths: Tensor) -> Tensor:
        """parts (B, T, P, H), lengths (B,) valid frames -> (B, L, H)."""
        when, where = (keys(parts) for keys in self.keys)
        ask_when, ask_where = (ask(self.queries).expand(len(parts), -1, -1).contiguous() for ask in self.asks)
        out = ops.spatio_temporal_attention(
            parts, when, where, ask_when, ask_where, self.weights[0], self.weights[1][None], self.bias, lengths
        )
        return out[0]


def main() -> None:
    torch.manual_seed(0)
    model = Pooling(size=16, queries=3)
    parts, lengths = torch.randn(4, 50, 6, 16), torch.tensor([50, 40, 30, 7])
    pooled = model(parts, lengths)
    pooled.square().mean().backward()
    print("pooled", tuple(pooled.shape), "gradient of the queries", f"{model.queries.grad.norm():.3f}")


if __name__ == "__main__":
    main()
