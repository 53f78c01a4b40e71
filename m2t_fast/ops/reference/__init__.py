"""Backend ``reference``: the equations of ``m2t_fast.reference`` forward, their gradients written out backward."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from m2t_fast import records


def why_unavailable() -> None:
    """Plain PyTorch runs wherever torch does."""


def in_float32(backward: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    """Run a gradient in float32 where tensors are stored shorter: its sums cancel more digits than bfloat16 has."""

    def widen(x: Tensor) -> Tensor:
        return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x

    @functools.wraps(backward)
    def run(grads: Any, x: Any, *saved: Any, **more: bool) -> dict[str, Tensor]:
        wide = [widen(r) if isinstance(r, Tensor) else records.converted(r, widen) for r in (grads, x, *saved)]
        return {name: grad.to(x[0].dtype) for name, grad in backward(*wide, **more).items()}

    return run
