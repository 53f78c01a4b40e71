"""What an op gives, as its reference's annotation says: names, kinds, dtypes and schema."""

from __future__ import annotations

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


def returns(count: int) -> str:
    """The schema of so many tensors."""
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
