"""How every C++ kernel is called: dtype, addresses, threads and instruction set.

The kernels take contiguous tensors as addresses and sizes, in float32 or float64; a shorter format is stored as it is
and computed in float32. Shapes were checked by the ops, and lengths are clamped by the kernels themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from m2t_fast import native

INTERFACE = 3
"""The extension's own number for the functions it offers; ``csrc/bindings.cpp`` must agree."""

INSTRUCTION_SETS = {"best": -1, "baseline": 0, "avx2": 1, "avx512": 2}
instruction_set = "best"
"""The copy of the kernels to run, a key of INSTRUCTION_SETS; where the processor lacks it, the best that it has."""


def why_unavailable() -> str | None:
    """Why the kernels cannot run here, or None if they can."""
    if native.available() and getattr(native._native, "INTERFACE", 0) != INTERFACE:
        return "m2t_fast._native was built from an older version: install m2t_fast again"
    return native.why_unavailable()


def kernel(name: str, dtype: torch.dtype) -> Callable:
    """The kernel ``name`` for tensors of ``dtype``."""
    return getattr(native._native, f"{name}_float64" if dtype == torch.float64 else f"{name}_float32")


def ready(tensor: Tensor) -> Tensor:
    """The tensor as a kernel takes it: contiguous, in the dtype of the arithmetic."""
    return tensor.to(torch.float64 if tensor.dtype == torch.float64 else torch.float32).contiguous()


def addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    """Where the tensors lie, 0 for None. The caller holds them for as long as the kernel runs."""
    return [0 if x is None else x.data_ptr() for x in tensors]


def how() -> dict[str, int]:
    """The arguments that say how to run: threads and instruction set."""
    return dict(threads=torch.get_num_threads(), instruction_set=INSTRUCTION_SETS[instruction_set])
