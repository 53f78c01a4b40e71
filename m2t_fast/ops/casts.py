"""Weights in the dtype of mixed precision, cast once per step: all of them in one launch, and their gradients in one.

Under autocast every op casts the weights that it is given. A training step gives the same ones to the decode that
learns its words and to the forward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_made: ContextVar[dict[int, tuple[Tensor, Tensor]] | None] = ContextVar("_made", default=None)
"""By a weight's id: the weight, and what it was cast to."""


@contextlib.contextmanager
def cast_once(weights: Iterable[Tensor], dtype: torch.dtype) -> Iterator[None]:
    """Inside the block :func:`cast` of these weights in float32 to ``dtype`` returns what was made on entry.

    A gradient comes through it; the weights must not change meanwhile. In a compiled graph nothing is kept: the
    compiler sees repeated casts itself.
    """
    wanted = [w for w in weights if w.dtype == torch.float32]
    if torch.compiler.is_compiling() or not wanted:
        yield
        return
    with torch.enable_grad():
        made = _Cast.apply(dtype, *wanted)  # type: ignore[no-untyped-call]
    token = _made.set({id(w): (w, short) for w, short in zip(wanted, made, strict=True)})
    try:
        yield
    finally:
        _made.reset(token)


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in ``dtype``."""
    if not torch.compiler.is_compiling() and (made := _made.get()) is not None:
        weight, short = made.get(id(tensor), (None, None))
        if weight is tensor and short is not None and short.dtype == dtype:
            return short
    return tensor.to(dtype)


class _Cast(torch.autograd.Function):
    """Several tensors in another dtype; the gradient of an unused one stays None."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(_converted(tensors, dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        wide = iter(_converted([g for g in grads if g is not None], torch.float32))
        return None, *(g if g is None else next(wide) for g in grads)


def _converted(tensors: Iterable[Tensor], dtype: torch.dtype) -> list[Tensor]:
    given = list(tensors)
    made = [torch.empty_like(t, dtype=dtype) for t in given]
    if given:
        torch._foreach_copy_(made, given)
    return made
