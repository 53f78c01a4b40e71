"""The outputs of an op, from its reference's annotation: names, kinds, dtypes and schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from m2t_fast import records
from m2t_fast.records import Index, Kind, Wide, fields


def kind_dtype(kind: Kind, x: Any) -> torch.dtype:
    """The dtype of an output of this kind."""
    if isinstance(kind, Index | records.Int64):
        return torch.int64
    if isinstance(kind, records.Bool):
        return torch.bool
    given = next((v for v in x if isinstance(v, torch.dtype)), None)
    dtype: torch.dtype = given or next(v.dtype for v in x if isinstance(v, Tensor))
    return torch.promote_types(dtype, torch.float32) if isinstance(kind, Wide) else dtype


def check_results(
    op: str, x: Any, sizes: records.Sizes, derive: Any, pairs: Sequence[tuple[str, Kind, Tensor | None]]
) -> None:
    """Check tensors of the kinds of an op's outputs (gradients, what was saved) against the inputs ``x``; None: none.

    Raises:
        ValueError: another shape or device. TypeError: another dtype, whose memory the kernels would misread.
    """
    device = next(v.device for v in x if isinstance(v, Tensor))
    for name, kind, value in pairs:
        if value is None:
            continue
        expected, dtype = records.shape_of(kind, sizes, derive), kind_dtype(kind, x)
        if tuple(value.shape) != expected:
            raise ValueError(f"{op}: {name} has shape {tuple(value.shape)}, expected {expected}")
        if value.dtype != dtype:
            raise TypeError(f"{op}: {name} has dtype {value.dtype}, expected {dtype}")
        if value.device != device:
            raise ValueError(f"{op}: {name} is on {value.device}, expected {device}")


def returns(count: int) -> str:
    """The schema of this number of tensors."""
    return "Tensor" if count == 1 else f"({', '.join(['Tensor'] * count)})"


def outputs_of(function: Any) -> tuple[Any, list[tuple[str, Kind]]]:
    """The record of the outputs, None where there is one alone, and their names and kinds."""
    hint = get_type_hints(function, include_extras=True)["return"]
    if get_origin(hint) is Annotated:
        given = get_args(hint)[1]
        kind = Kind(given) if isinstance(given, str) else given
        return None, [(kind.name or "output", kind)]
    found = []
    for field in fields(hint):
        assert field.kind is not None
        found.append((field.name, field.kind))
    return hint, found
