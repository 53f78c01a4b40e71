"""Launches ``random_draws``."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import addresses, how, kernel


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
    computed = torch.float64 if dtype == torch.float64 else torch.float32
    coins = torch.empty(words, dtype=torch.bool)
    first, second = (torch.empty(batch, words, channels, dtype=computed) for _ in range(2))
    state, rows = state.contiguous(), None if rows is None else rows.contiguous()
    kernel("random_draws", computed)(
        sizes=[batch, words, channels],
        state=state.data_ptr(),
        rows=addresses([rows])[0],
        coin_threshold=coin_threshold,
        keep_threshold=keep_threshold,
        factor=factor,
        outputs=addresses([coins, first, second]),
        **how(),
    )
    return coins, first.to(dtype), second.to(dtype)
