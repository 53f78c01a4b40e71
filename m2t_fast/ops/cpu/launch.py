"""How every C++ kernel is called: dtype, addresses, threads and instruction set.

The kernels take records of contiguous tensors and of sizes, in float32 or float64; a shorter format is stored as it is
and computed in float32. Shapes were checked by the ops, and lengths are clamped by the kernels themselves.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from m2t_fast import native
from m2t_fast.errors import UserError
from m2t_fast.extension import kernel, why_stale


def _pool_bytes() -> int:
    given = os.environ.get("M2T_FAST_POOL_MIB", "1024")
    try:
        return max(0, int(given)) << 20
    except ValueError:
        raise UserError(f"environment variable M2T_FAST_POOL_MIB: got {given!r}, expected a whole number") from None


INSTRUCTION_SETS = {"best": -1, "baseline": 0, "avx2": 1, "avx512": 2}
instruction_set = "best"
"""The copy of the kernels to run, a key of INSTRUCTION_SETS; where the processor lacks it, the best that it has."""


POOLED_FROM = 4 << 20
"""Bytes from which a result comes from the pool."""
POOL_BYTES = _pool_bytes()
"""Bytes that may wait in the pool."""
if native.available() and hasattr(native._native, "set_pool_limit"):
    native._native.set_pool_limit(POOL_BYTES)


def why_unavailable() -> str | None:
    """Why the kernels cannot run here, or None if they can."""
    return why_stale(native._native, "cpu") if native.available() else native.why_unavailable()


_AS_THEY_ARE = (torch.float32, torch.float64, torch.int64, torch.bool)


def ready(tensor: Tensor) -> Tensor:
    """The tensor as a kernel takes it: contiguous, floats in the dtype of the arithmetic."""
    if tensor.dtype in _AS_THEY_ARE:
        return tensor.contiguous()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """A result of ``shape`` in the dtype of ``like``, not initialised; a large one in memory that was used before.

    The operating system clears the pages of fresh memory, which for the largest results takes longer than to compute
    them. M2T_FAST_POOL_MIB (1024) says how much unused memory waits for the next results; 0 leaves all to torch.
    """
    count = math.prod(shape)
    if POOL_BYTES == 0 or count * like.element_size() < POOLED_FROM:
        return like.new_empty(shape)
    buffer = native._native.Buffer(count * like.element_size())
    memory = torch.frombuffer(buffer, dtype=like.dtype, count=count).view(*shape)
    # A tensor of its own: autograd minds a view of another, and adds in place only to memory that nobody else holds, as
    # a storage that Python has seen would be.
    return like.new_empty(0).set_(memory)  # type: ignore[call-overload,no-any-return]


def address(x: Tensor) -> int:
    """Where a tensor lies. The caller holds it for as long as the kernel runs.

    Raises:
        ValueError: not on the processor, or not contiguous: no kernel could read it.
    """
    if not x.is_cpu or not x.is_contiguous():
        where = f"on {x.device}, with shape {tuple(x.shape)} and strides {x.stride()}"
        raise ValueError(f"a kernel of the backend cpu got a tensor {where}, expected a contiguous one on cpu")
    return x.data_ptr()


def instruction_set_number() -> int:
    """The chosen instruction set as the extension numbers it."""
    return INSTRUCTION_SETS[instruction_set]


def run(name: str, dtype: torch.dtype, **given: Any) -> Any:
    """Runs the kernel ``name`` for tensors of ``dtype``, with its records by name: :mod:`m2t_fast.extension`."""
    return kernel(native._native, name, dtype, address)(
        threads=torch.get_num_threads(), instruction_set=instruction_set_number(), **given
    )
