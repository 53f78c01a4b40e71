"""Launches ``random_draws``."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.kernels import draws as kernels
from m2t_fast.ops.triton.launch import configuration, on_device


def random_draws(
    state: Tensor,
    rows: Tensor | None,
    batch: int,
    words: int,
    channels: int,
    coin_threshold: int,
    keep_threshold: int,
    factor: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Coins and both dropout factors of ``ops.random_draws``."""
    coins = state.new_empty(words, dtype=torch.bool)
    shape = batch, words, channels
    first, second = (state.new_empty(shape, dtype=dtype) for _ in range(2))
    if words:
        with on_device(state):
            options = configuration("random_draws", first)
            counters = words * (batch * -(-channels // 4) + 1)
            kernels.random_draws[(-(-counters // options["BLOCK"]),)](
                state.contiguous(),
                None if rows is None else rows.contiguous(),
                coins,
                first,
                second,
                coin_threshold,
                keep_threshold,
                # As it will be stored, so that nothing is left to round.
                float(torch.tensor(factor, dtype=dtype)),
                batch if channels else 0,
                words,
                E=max(channels, 1),
                **options,
            )
    return coins, first, second
