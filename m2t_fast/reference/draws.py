"""The counter-based generator Philox 4x32-10 and the random numbers of a training step, in plain PyTorch.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011). A number is
a function of a key and a counter: here of the seed and of (what it is for, channel, word, row, step), so that no number
depends on how many others are drawn, by whom or in which order.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import Bool, Data, Int64, Size, from_fields

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
"""Of the first and the third word of the counter (the paper's table 2)."""
INCREMENTS = 0x9E3779B9, 0xBB67AE85
"""Of the two words of the key from round to round: the golden ratio, and the square root of 3 minus 1."""
ROUNDS = 10
WORD = 0xFFFFFFFF
"""The largest 32-bit word."""
INPUT, MIXED, COINS = 0, 1 << 30, 2 << 30
"""What a number is for, in the highest bits of the counter's first word: a dropout mask or a coin."""


class DrawsInputs(NamedTuple):
    """What is to be drawn, and from which numbers."""

    state: Annotated[Tensor, Int64("2")]
    """The seed, all 64 bits, and the step, its low 32 bits."""
    batch: Annotated[int, Size("B")]
    words: Annotated[int, Size("L")]
    channels: Annotated[int, Size("E")]
    teacher_forcing: float = 1.0
    """Probability of a True coin."""
    dropout: float = 0.0
    """Probability of a factor 0, below 1; the others are 1 / (1 - dropout)."""
    rows: Annotated[Tensor, Int64("B")] | None = None
    """Number of each row in the whole batch, its low 32 bits; None: 0 to B - 1."""
    dtype: torch.dtype = torch.float32
    """Of the factors."""

    @property
    def coin_threshold(self) -> int:
        """A coin is True where a random 32-bit word is below it."""
        return round(self.teacher_forcing * 2**32)

    @property
    def keep_threshold(self) -> int:
        """A factor is not 0 where a random 32-bit word is below it."""
        return round((1.0 - self.dropout) * 2**32)

    @property
    def factor(self) -> float:
        """What keeps the mean of an embedding."""
        return 1.0 / (1.0 - self.dropout)


class DrawsOutput(NamedTuple):
    """Everything random of one training step over B rows and L words."""

    coins: Annotated[Tensor, Bool("L")]
    """True reads the reference word."""
    first: Annotated[Tensor, Data("B L E")]
    """0 or the factor, on the embeddings that the bottom LSTM reads."""
    second: Annotated[Tensor, Data("B L E")]
    """0 or the factor, on the embeddings that the mixture reads."""


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


@from_fields(DrawsInputs)
def random_draws(x: DrawsInputs) -> DrawsOutput:
    """The random numbers of one training step (contract item 11): one coin per word, two dropout factors per embedding.

    Numbers come from Philox 4x32-10. The coin of a word depends on seed, step and word alone, a factor also on its row,
    channel and mask: not on the sizes, the dtype, the backend or the device. Nothing is read from the device, so a CUDA
    graph may hold the op and replay it with another ``state``.
    """
    device = x.state.device
    seed, step = x.state.unbind()
    key = seed & WORD, (seed >> 32) & WORD
    step = step & WORD
    word = torch.arange(x.words, device=device)
    coins = philox((torch.full_like(word, COINS), word, torch.zeros_like(word), step), key)[0] < x.coin_threshold
    rows = torch.arange(x.batch, device=device) if x.rows is None else x.rows
    # Four channels are one counter's four words.
    block = torch.arange(-(-x.channels // 4), device=device)
    row = (rows & WORD)[:, None, None]
    masks = []
    for purpose in (INPUT, MIXED):
        numbers = torch.stack(philox((block + purpose, word[:, None], row, step), key), dim=-1)
        kept = numbers.flatten(-2)[..., : x.channels] < x.keep_threshold
        masks.append(kept.to(x.dtype) * x.factor)
    return DrawsOutput(coins, *masks)
