"""Backends: one module each, functions named after the ops (see ``m2t_fast.ops.registry``)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def or_reference(kernel: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """``kernel``, and ``plain`` for float64: for kernels that compute in float32."""

    @functools.wraps(kernel)
    def run(*arguments: Any) -> Any:
        double = any(isinstance(x, Tensor) and x.dtype == torch.float64 for x in arguments)
        return (plain if double else kernel)(*arguments)

    return run
