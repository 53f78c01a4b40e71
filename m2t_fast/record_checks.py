"""Checks the tensors of a record against what its fields say: shapes, dtypes and devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from m2t_fast.records import (
    Bool,
    Data,
    Dimension,
    Field,
    Index,
    Int64,
    Kind,
    Sizes,
    Target,
    fields_of,
    given_sizes,
    learn,
    value_of,
)


def check(op: str, x: Any, without: tuple[str, ...] = ()) -> Sizes:
    """Check the shapes, dtypes and devices of a record's tensors against what its fields say; the letters' sizes.

    Fields of the names ``without`` may be None.

    Raises:
        TypeError: not a tensor, or a dtype does not fit. ValueError: a shape or device does not fit. Both name the
        argument.
    """
    sizes = given_sizes(x)
    first: list[tuple[str, Tensor]] = []
    _check(op, x, sizes, first, getattr(type(x), "derive", None), without)
    return sizes


def _check(
    op: str, x: Any, sizes: Sizes, first: list[tuple[str, Tensor]], derive: Any, without: tuple[str, ...] = ()
) -> None:
    later = []
    for field, value in zip(fields_of(x), x, strict=True):
        if value is None and (field.optional or field.name in without):
            continue
        if field.record is not None:
            _check(op, value, sizes, first, derive)
        elif field.kind is not None:
            if not _check_shape(op, field, value, sizes, derive):
                later.append((field, value))
            _check_kind(op, field.name, field.kind, value, first)
    for field, value in later:
        _check_shape(op, field, value, sizes, derive)


def _check_shape(op: str, field: Field, tensor: Tensor, sizes: Sizes, derive: Any) -> bool:
    """Raise where a shape does not fit; False if a letter is not known yet."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{op}: {field.name} must be a tensor, got {type(tensor).__name__}")
    assert field.kind is not None
    dimensions, shape = field.kind.dimensions, tensor.shape
    known, whole = dict(sizes), True  # what a shape that does not fit would teach is not for the message
    fits = len(dimensions) == len(shape)
    if fits:
        rest = [pair for pair in zip(dimensions, shape, strict=True) if not learn(*pair, known)]
        for dimension, size in rest:
            try:
                fits = fits and value_of(dimension, known, derive) == size
            except KeyError:
                whole = False
            except ValueError as error:
                raise ValueError(f"{op}: {error}") from None
    if not fits:
        pattern = ", ".join(_shown(x, text, sizes, derive) for x, text in _with_text(field.kind))
        raise ValueError(f"{op}: {field.name} has shape {tuple(shape)}, expected ({pattern})")
    sizes.update(known)
    return whole


def _with_text(kind: Kind) -> Iterator[tuple[Dimension, str]]:
    return zip(kind.dimensions, kind.shape.split(), strict=True)


def _shown(dimension: Dimension, text: str, sizes: Sizes, derive: Any) -> str:
    """ "B=2", or as it is where it is a number or not known yet."""
    try:
        size = value_of(dimension, sizes, derive)
    except KeyError:
        return text
    return text if isinstance(dimension, int) else f"{text}={size}"


def _check_kind(op: str, name: str, kind: Kind, tensor: Tensor, first: list[tuple[str, Tensor]]) -> None:
    dtype = tensor.dtype
    if type(kind) is Kind or isinstance(kind, Data):
        if not dtype.is_floating_point:
            raise TypeError(f"{op}: {name} has dtype {dtype}, expected a floating dtype")
        own = next(((n, x) for n, x in first if x.dtype.is_floating_point), None)
        if own is not None and dtype != own[1].dtype:
            raise TypeError(f"{op}: {name} has dtype {dtype}, expected {own[1].dtype} as {own[0]}")
        if isinstance(kind, Data) and tensor.requires_grad:
            raise ValueError(f"{op}: {name} requires a gradient, expected data")
    elif isinstance(kind, Index):
        if dtype.is_floating_point or dtype == torch.bool:
            raise TypeError(f"{op}: {name} must be an int64 tensor, got {dtype}")
    elif isinstance(kind, Int64) and dtype != torch.int64:
        raise TypeError(f"{op}: {name} has dtype {dtype}, expected torch.int64")
    elif isinstance(kind, Bool):
        if dtype != torch.bool:
            raise TypeError(f"{op}: {name} has dtype {dtype}, expected torch.bool")
        return
    if first and tensor.device != first[0][1].device:
        raise ValueError(f"{op}: {name} is on {tensor.device}, expected {first[0][1].device} as {first[0][0]}")
    if not first or (tensor.dtype.is_floating_point and not isinstance(kind, Target)):
        first.append((name, tensor))
