"""The op ``random_draws``: coins and dropout factors of a step from a counter, the same bits on every backend."""

from __future__ import annotations

from m2t_fast import reference
from m2t_fast.ops.define import define
from m2t_fast.reference.draws import DrawsInputs, DrawsOutput

__all__ = ["DrawsInputs", "DrawsOutput", "random_draws"]

NAME = "random_draws"
LARGEST_CHANNELS = 1 << 32
"""Channels that the counter tells apart."""


def _check(x: DrawsInputs) -> None:
    for name in ("batch", "words", "channels"):
        size = getattr(x, name)
        if not 0 <= size < LARGEST_CHANNELS:
            raise ValueError(f"{NAME}: {name}: got {size}, expected 0 to {LARGEST_CHANNELS - 1}")
    if not 0.0 <= x.teacher_forcing <= 1.0:
        raise ValueError(f"{NAME}: teacher_forcing: got {x.teacher_forcing!r}, expected a probability in [0, 1]")
    if not 0.0 <= x.dropout < 1.0:
        raise ValueError(f"{NAME}: dropout: got {x.dropout!r}, expected a number in [0, 1)")
    if not x.dtype.is_floating_point:
        raise TypeError(f"{NAME}: dtype is {x.dtype}, expected a floating dtype")


random_draws = define(
    reference.random_draws, file="draws", differentiable=False, autocast=False, check=_check, is_data=True
)
