"""Additive (Bahdanau) attention as a layer of a small decoder: softmax of weight . tanh(key + query)."""

from __future__ import annotations

import torch

from m2t_fast.modules import AdditiveAttention


def main() -> None:
    torch.manual_seed(0)
    layer = AdditiveAttention(query_size=24, key_size=16, attention_size=32)
    seen, lengths = torch.randn(3, 40, 16), torch.tensor([40, 12, 1])  # (B, T, features), valid ones
    asked = torch.randn(3, 5, 24, requires_grad=True)  # (B, L, features)
    context, weights = layer(asked, seen, lengths)
    context.sum().backward()
    print("context", tuple(context.shape), "each query's weights sum to", f"{weights.sum(-1).mean():.2f}")


if __name__ == "__main__":
    main()
