"""Shared by the cases: records of their inputs, targets, and memory layouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def record_of(record: Any, *values: Any) -> Any:
    """A record of values whose number mypy does not know."""
    return record(*values)


def normals(g: torch.Generator, dtype: torch.dtype) -> Callable[..., Tensor]:
    """A function of a shape: normal numbers, drawn in float64, in ``dtype``."""
    return lambda *shape: torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)


def ragged_lengths(batch: int, frames: int, g: torch.Generator) -> Tensor:
    """(B,) int64: the first is T, the others are 1 to T."""
    lengths = torch.randint(1, frames + 1, (batch,), generator=g)
    lengths[:1] = frames
    return lengths


def targets(*shape: int) -> Tensor:
    """1, 0 and -1 (not supervised) in turn."""
    return torch.arange(math.prod(shape)).view(shape) % 3 - 1


def arranged(inputs: list[Tensor], layout: str) -> list[Tensor]:
    """The inputs as they may lie in memory; floats of ``layout``

    - "contiguous": as they are;
    - "strided": the same values, every dimension strided, nothing contiguous;
    - "expanded": the first row repeated with a stride of 0.
    """
    if layout == "contiguous":
        return inputs

    def arrange(x: Tensor) -> Tensor:
        if not x.dtype.is_floating_point or x.dim() == 0:
            return x
        if layout == "expanded":
            return x[:1].expand(x.shape)
        return torch.stack([x.mT.contiguous().mT if x.dim() > 1 else x, torch.full_like(x, torch.nan)], dim=-1)[..., 0]

    return [arrange(x) for x in inputs]
