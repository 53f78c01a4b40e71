"""A record as the flat arguments that torch's dispatcher takes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from m2t_fast import records
from m2t_fast.records import Field, fields

_SCHEMA = {
    float: "float",
    int: "SymInt",
    bool: "bool",
    str: "str",
    torch.dtype: "ScalarType",
}


class Packing:
    """A record as the flat arguments of a registered op, and back."""

    def __init__(self, record: Any, unread: Sequence[str] = ()):
        self.record, self.unread = record, unread
        self.fields = [f for f in fields(record) if f.name not in unread]
        self.names = [f.name for f in self.fields]
        self.nested = [i for i, f in enumerate(self.fields) if f.record is not None or _is_lists(f)]
        self.coerces = bool(self.nested)
        self.has_data = any(isinstance(f.kind, records.Data) for f in self.fields)
        self.all_names = [f.name for f in fields(record)]

    def schema(self) -> list[str]:
        """The arguments of the op's schema."""
        found = []
        for f in self.fields:
            mark = "?" if f.optional else ""
            if f.kind is not None:
                found.append(f"Tensor{mark} {f.name}")
            elif f.record is not None:
                found.append(f"Tensor[]{mark} {f.name}")
            elif _is_lists(f):
                found.append(f"int[] {f.name}")
            else:
                found.append(f"{_SCHEMA[f.annotation]}{mark} {f.name}")
        return found

    def coerced(self, x: Any) -> Any:
        """The record with its records, which callers may give as plain tuples, and its lists as tuples."""
        given: dict[str, Any] = {}
        for i in self.nested:
            f = self.fields[i]
            value = getattr(x, f.name)
            if f.record is None:
                given[f.name] = tuple(tuple(numbers) for numbers in value)
            elif value is not None and type(value) is not f.record:
                given[f.name] = f.record(*value)
        return x._replace(**given) if given else x

    def pack(self, x: Any) -> Any:
        """The flat arguments."""
        if not self.nested and not self.unread:
            return x
        values = [getattr(x, name) for name in self.names]
        for i in self.nested:
            if values[i] is not None:
                values[i] = _joined(values[i]) if _is_lists(self.fields[i]) else list(values[i])
        return values

    def unpack(self, flat: Sequence[Any]) -> Any:
        """The record again; what the flat arguments leave out is None."""
        values = list(flat)
        for i in self.nested:
            if values[i] is not None:
                f = self.fields[i]
                values[i] = _split(values[i]) if _is_lists(f) else f.record(*values[i])
        if not self.unread:
            return self.record(*values)
        return self.record(**{**dict.fromkeys(self.all_names), **dict(zip(self.names, values, strict=True))})

    def split(self, x: Any) -> tuple[list[Any], list[Any]]:
        """The flat arguments' tensors and the rest, None in the other's places left out."""
        flat = self.pack(x)
        pairs = list(zip(self.fields, flat, strict=True))
        return [v for f, v in pairs if f.kind is not None], [v for f, v in pairs if f.kind is None]

    def joined(self, tensors: Sequence[Any], options: Sequence[Any]) -> list[Any]:
        """The flat arguments from what :meth:`split` gave."""
        of_tensors, of_options = iter(tensors), iter(options)
        return [next(of_tensors) if f.kind is not None else next(of_options) for f in self.fields]

    def key(self, x: Any) -> Any:
        """What the check of a record depends on: of tensors all but their numbers, of options those that are whole."""
        found: list[Any] = []
        for value in x:
            if isinstance(value, Tensor):
                found += (value.shape, value.dtype, value.device)
            elif hasattr(value, "_fields"):
                found.append(self.key(value))
            else:
                found.append(value if isinstance(value, int | tuple) else type(value))
        if self.has_data:
            found += [value.requires_grad for value in x if isinstance(value, Tensor)]
        return tuple(found)


def fingerprint(value: Any) -> Any:
    """What the check of flat arguments depends on, as :meth:`Packing.key`."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device
    if isinstance(value, list | tuple):
        return tuple(map(fingerprint, value))
    return value if isinstance(value, int) else type(value)


def _is_lists(field: Field) -> bool:
    return isinstance(field.note, records.Lists)


_END = -1


def _joined(lists: Sequence[Sequence[int]]) -> list[int]:
    """Lists of numbers from 0 as one list, each followed by -1."""
    return [x for numbers in lists for x in (*numbers, _END)]


def _split(flat: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []
    current: list[int] = []
    for x in flat:
        if x == _END:
            found.append(tuple(current))
            current = []
        else:
            current.append(x)
    return tuple(found)
