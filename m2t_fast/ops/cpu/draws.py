"""Launches ``random_draws``."""

from __future__ import annotations

import torch

from m2t_fast.ops.cpu.launch import run
from m2t_fast.reference.draws import DrawsInputs, DrawsOutput


def random_draws(x: DrawsInputs) -> DrawsOutput:
    """Coins and both dropout factors of ``ops.random_draws``."""
    computed = torch.float64 if x.dtype == torch.float64 else torch.float32
    coins = torch.empty(x.words, dtype=torch.bool, device="cpu")
    first, second = (torch.empty(x.batch, x.words, x.channels, dtype=computed, device="cpu") for _ in range(2))
    run(
        "random_draws",
        computed,
        sizes=dict(batch=x.batch, words=x.words, channels=x.channels),
        inputs=dict(
            state=x.state.contiguous(),
            rows=None if x.rows is None else x.rows.contiguous(),
            coin_threshold=x.coin_threshold,
            keep_threshold=x.keep_threshold,
            factor=x.factor,
        ),
        outputs=DrawsOutput(coins, first, second),
    )
    return DrawsOutput(coins, first.to(x.dtype), second.to(x.dtype))
