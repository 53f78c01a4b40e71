"""Backend ``cpu``: launches the C++ kernels, which skip padding and hold no tensor of words x frames x attention size.

The kernels take contiguous tensors as addresses and sizes, in float32 or float64; a shorter format is stored as it is
and computed in float32. Shapes were checked by the ops, and lengths are clamped by the kernels themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from m2t_fast import native
from m2t_fast.config import SIGMA_MIN

INSTRUCTION_SETS = {"best": -1, "baseline": 0, "avx2": 1, "avx512": 2}
instruction_set = "best"
"""The copy of the kernels to run, a key of INSTRUCTION_SETS; where the processor lacks it, the best that it has."""


def why_unavailable() -> str | None:
    """Why the kernels cannot run here, or None if they can."""
    if native.available() and not hasattr(native._native, "attention_forward_float32"):
        return "m2t_fast._native was built from an older version: install m2t_fast again"
    return native.why_unavailable()


def _arithmetic(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _kernel(name: str, dtype: torch.dtype) -> Callable:
    return getattr(native._native, f"{name}_float64" if dtype == torch.float64 else f"{name}_float32")


def _ready(tensor: Tensor) -> Tensor:
    """Contiguous and in the dtype of the arithmetic."""
    return tensor.to(_arithmetic(tensor.dtype)).contiguous()


def _addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if x is None else x.data_ptr() for x in tensors]


def spatio_temporal_attention(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    scale: float,
) -> tuple[Tensor, ...]:
    """Context, window, spatial, mean and std of ``ops.spatio_temporal_attention``."""
    inputs = [
        _ready(x)
        for x in (
            parts,
            temporal_keys,
            spatial_keys,
            temporal_query,
            spatial_query,
            temporal_weight,
            spatial_weight,
            spatial_bias,
        )
    ]
    lengths = lengths.contiguous()
    batch, frames, part_count, part_dim = parts.shape
    words = temporal_query.shape[1]
    shapes = (
        (batch, words, part_dim),
        (batch, words, frames),
        (batch, words, frames, part_count),
        (batch, words),
        (batch, words),
    )
    outputs = [torch.empty(shape, dtype=inputs[0].dtype) for shape in shapes]
    _kernel("attention_forward", parts.dtype)(
        outputs=_addresses(outputs), **_attention_arguments(inputs, lengths, scale)
    )
    return tuple(x.to(parts.dtype) for x in outputs)


def spatio_temporal_attention_backward(
    grads: tuple[Tensor | None, ...],
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    mean: Tensor,
    std: Tensor,
    scale: float,
) -> tuple[Tensor, ...]:
    """Gradients of the eight float inputs, from the gradients of the five outputs (None: the output was not used).

    ``mean`` and ``std`` are not read: the kernel recomputes them in double, because in float32 those of a long motion
    are not precise enough.
    """
    inputs = [
        _ready(x)
        for x in (
            parts,
            temporal_keys,
            spatial_keys,
            temporal_query,
            spatial_query,
            temporal_weight,
            spatial_weight,
            spatial_bias,
        )
    ]
    lengths = lengths.contiguous()
    ready_grads = [x if x is None else _ready(x) for x in grads]
    outputs = [torch.empty_like(x) for x in inputs]
    _kernel("attention_backward", parts.dtype)(
        grads=_addresses(ready_grads),
        outputs=_addresses(outputs),
        **_attention_arguments(inputs, lengths, scale),
    )
    return tuple(x.to(parts.dtype) for x in outputs)


def _attention_arguments(inputs: list[Tensor], lengths: Tensor, scale: float) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    parts, temporal_keys, _, temporal_query, *_ = inputs
    batch, frames, part_count, part_dim = parts.shape
    slots, attention_dim = temporal_keys.shape[2:]
    return dict(
        sizes=[batch, frames, temporal_query.shape[1], part_count, slots, part_dim, attention_dim],
        inputs=_addresses(inputs),
        lengths=lengths.data_ptr(),
        scale=scale,
        sigma_min=SIGMA_MIN,
        threads=torch.get_num_threads(),
        instruction_set=INSTRUCTION_SETS[instruction_set],
    )
