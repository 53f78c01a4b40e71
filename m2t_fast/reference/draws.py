"""The counter-based generator Philox 4x32-10 and the random numbers of a training step, in plain PyTorch.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011). A number is
a function of a key and a counter: here of the seed and of (what it is for, channel, word, row, step), so that no number
depends on how many others are drawn, by whom or in which order.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
"""Of the first and the third word of the counter (the paper's table 2)."""
INCREMENTS = 0x9E3779B9, 0xBB67AE85
"""Of the two words of the key from round to round: the golden ratio, and the square root of 3 minus 1."""
ROUNDS = 10
WORD = 0xFFFFFFFF
"""The largest 32-bit word."""
INPUT, MIXED, COINS = 0, 1 << 30, 2 << 30
"""What a number is for, in the highest bits of the counter's first word: a dropout mask or a coin."""


class DrawsOutput(NamedTuple):
    """Everything random of one training step over B rows and L words."""

    coins: Tensor
    """(L,) bool: True reads the reference word."""
    first: Tensor
    """(B, L, E): 0 or the factor, on the embeddings that the bottom LSTM reads."""
    second: Tensor
    """(B, L, E): 0 or the factor, on the embeddings that the mixture reads."""


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Four random 32-bit words of the counter's four and the key's two, all int64 tensors of one shape or broadcast."""
    a, b, c, d = counter
    low, high = key
    for _ in range(ROUNDS):
        (a_high, a_low), (c_high, c_low) = _product(MULTIPLIERS[0], a), _product(MULTIPLIERS[1], c)
        a, b, c, d = c_high ^ b ^ low, c_low, a_high ^ d ^ high, a_low
        low, high = (low + INCREMENTS[0]) & WORD, (high + INCREMENTS[1]) & WORD
    return a, b, c, d


def _product(factor: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of a 64-bit product of 32-bit words, from two products that int64 holds."""
    lower, upper = factor * (x & 0xFFFF), factor * (x >> 16)
    middle = upper + (lower >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (lower & 0xFFFF)


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
) -> DrawsOutput:
    """Coins and dropout factors of a step: True, or ``factor``, where a random 32-bit word is below the threshold.

    Args:
        state: (2,) int64, seed and step. rows: (B,) int64 numbers of the rows, or None: 0 to B - 1.
        batch, words, channels: B, L, E. dtype: of the factors.
    """
    device = state.device
    seed, step = state.unbind()
    key = seed & WORD, (seed >> 32) & WORD
    step = step & WORD
    word = torch.arange(words, device=device)
    coins = philox((torch.full_like(word, COINS), word, torch.zeros_like(word), step), key)[0] < coin_threshold
    if rows is None:
        rows = torch.arange(batch, device=device)
    # Four channels are one counter's four words.
    block = torch.arange(-(-channels // 4), device=device)
    row = (rows & WORD)[:, None, None]
    masks = []
    for purpose in (INPUT, MIXED):
        numbers = torch.stack(philox((block + purpose, word[:, None], row, step), key), dim=-1)
        kept = numbers.flatten(-2)[..., :channels] < keep_threshold
        masks.append(kept.to(dtype) * factor)
    return DrawsOutput(coins, *masks)
