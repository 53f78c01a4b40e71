"""Launches ``random_draws``."""

from __future__ import annotations

import torch

from m2t_fast.kernels import draws as kernels
from m2t_fast.ops.triton.launch import configuration, on_device
from m2t_fast.reference.draws import DrawsInputs, DrawsOutput


def random_draws(x: DrawsInputs) -> DrawsOutput:
    """Coins and both dropout factors of ``ops.random_draws``."""
    coins = x.state.new_empty(x.words, dtype=torch.bool)
    first, second = (x.state.new_empty(x.batch, x.words, x.channels, dtype=x.dtype) for _ in range(2))
    if x.words:
        with on_device(x.state):
            options = configuration("random_draws", first)
            counters = x.words * (x.batch * -(-x.channels // 4) + 1)
            kernels.random_draws[(-(-counters // options["BLOCK"]),)](
                x.state.contiguous(),
                None if x.rows is None else x.rows.contiguous(),
                coins,
                first,
                second,
                x.coin_threshold,
                x.keep_threshold,
                # As it will be stored, so that nothing is left to round.
                float(torch.tensor(x.factor, dtype=x.dtype)),
                x.batch if x.channels else 0,
                x.words,
                E=max(x.channels, 1),
                **options,
            )
    return DrawsOutput(coins, first, second)
