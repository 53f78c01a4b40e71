"""The op ``random_draws``: coins and dropout factors of a step from a counter, the same bits on every backend."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import check_shape
from m2t_fast.ops.registry import chosen_backend, implementation
from m2t_fast.reference.draws import DrawsOutput

NAME = "random_draws"
LARGEST_CHANNELS = 1 << 32
"""Channels that the counter tells apart."""


def random_draws(
    state: Tensor,
    batch: int,
    words: int,
    channels: int,
    teacher_forcing: float = 1.0,
    dropout: float = 0.0,
    rows: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> DrawsOutput:
    """What is random in one training step (contract item 11): one coin a word, two dropout factors an embedding.

    Numbers come from Philox 4x32-10 (``m2t_fast.reference.draws``). The coin of a word depends on seed, step and word
    alone, a factor also on its row, channel and mask: not on the sizes, the dtype, the backend or the device. Nothing
    is read from the device, so a CUDA graph may hold the op and replay it with another ``state``.

    Args:
        state: (2,) int64 on the device of the result: the seed, all 64 bits, and the step, its low 32 bits.
        batch, words, channels: B, L and E, each at least 0.
        teacher_forcing: probability of a True coin. dropout: of a factor 0, below 1; the others are 1 / (1 - dropout).
        rows: (B,) int64 number of each row in the whole batch, its low 32 bits; None: 0 to B - 1.
        dtype: of the factors.

    Raises:
        ValueError: a shape, device, size or probability does not fit. TypeError: a dtype does not fit.
    """
    sizes = {"B": batch}
    check_shape(NAME, "state", state, (2,), sizes)
    if rows is not None:
        check_shape(NAME, "rows", rows, ("B",), sizes)
        if rows.device != state.device:
            raise ValueError(f"{NAME}: rows is on {rows.device}, expected {state.device} as state")
    for name, tensor in (("state", state), ("rows", rows)):
        if tensor is not None and tensor.dtype != torch.int64:
            raise TypeError(f"{NAME}: {name} has dtype {tensor.dtype}, expected torch.int64")
    for name, size in (("batch", batch), ("words", words), ("channels", channels)):
        if not 0 <= size < LARGEST_CHANNELS:
            raise ValueError(f"{NAME}: {name}: got {size}, expected 0 to {LARGEST_CHANNELS - 1}")
    if not 0.0 <= teacher_forcing <= 1.0:
        raise ValueError(f"{NAME}: teacher_forcing: got {teacher_forcing!r}, expected a probability in [0, 1]")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"{NAME}: dropout: got {dropout!r}, expected a number in [0, 1)")
    if not dtype.is_floating_point:
        raise TypeError(f"{NAME}: dtype is {dtype}, expected a floating dtype")
    keep = 1.0 - dropout
    return DrawsOutput(
        *torch.ops.m2t_fast.random_draws(
            state,
            rows,
            batch,
            words,
            channels,
            round(teacher_forcing * 2**32),
            round(keep * 2**32),
            1.0 / keep,
            dtype,
            chosen_backend(),
        )
    )


@torch.library.custom_op("m2t_fast::random_draws", mutates_args=())
def _random_draws(
    state: Tensor,
    rows: Tensor | None,
    batch: int,
    words: int,
    channels: int,
    coin_threshold: int,
    keep_threshold: int,
    factor: float,
    dtype: torch.dtype,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    run = implementation(NAME, backend, state)
    return run(state, rows, batch, words, channels, coin_threshold, keep_threshold, factor, dtype)


@_random_draws.register_fake
def _(state, rows, batch, words, channels, coin_threshold, keep_threshold, factor, dtype, backend):
    return (
        state.new_empty(words, dtype=torch.bool),
        state.new_empty(batch, words, channels, dtype=dtype),
        state.new_empty(batch, words, channels, dtype=dtype),
    )
