"""Functions of the native extension: each argument is passed by name to its place in the C++ declaration.

The extension keeps the text of each record's declaration (``csrc/common/record.h``). Here it becomes a layout, so that
neither side counts positions, and every tensor's dtype is compared with the pointer that it becomes.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

SOURCES = Path(__file__).resolve().parents[1] / "csrc"
"""Where a checkout has the extension's sources."""
_CODES = {
    "std::int64_t": "q",
    "std::uint64_t": "Q",
    "std::uintptr_t": "Q",
    "std::int32_t": "i",
    "unsigned": "I",
    "int": "i",
    "bool": "?",
    "float": "f",
    "double": "d",
}
_POINTED = {
    "float": torch.float32,
    "double": torch.float64,
    "BFloat16": torch.bfloat16,
    "std::int64_t": torch.int64,
    "bool": torch.bool,
}
_POINTER = "P"


class _Field(NamedTuple):
    name: str
    code: str
    """Of ``struct``; empty: a record."""
    dtype: torch.dtype | None = None
    """That a tensor must have whose address it is; None: any."""
    record: Layout | None = None


def _pointed(kind: str, dtype: torch.dtype | None) -> torch.dtype | None:
    """The dtype of what a pointer points to: T and, in which it is summed, Wide stand for the function's own."""
    if kind == "Wide":
        return torch.float64 if dtype == torch.float64 else torch.float32
    return dtype if kind == "T" else _POINTED.get(kind)


class Layout:
    """The fields of a C++ record, from the text of its declaration; ``dtype`` is what T stands for."""

    def __init__(self, text: str, dtype: torch.dtype | None, records: Mapping[str, str]):
        self.fields = tuple(
            _Field(name, "", None, Layout(records[kind], dtype, records))
            if kind in records and not pointer
            else _Field(name, _POINTER, _pointed(kind, dtype))
            if pointer
            else _Field(name, _CODES[kind])
            for kind, name, pointer in declared(text)
        )
        names = [field.name for field in self.fields]
        self._of_mapping, self._of_record = _all_of(operator.itemgetter, names), _all_of(operator.attrgetter, names)
        self._struct = struct.Struct(f"@{self.codes}0q" if set("qQdP") & set(self.codes) else f"@{self.codes}")

    @property
    def codes(self) -> str:
        """The fields in ``struct``'s codes, those of nested records in their place."""
        return "".join(field.code if field.record is None else field.record.codes for field in self.fields)

    @property
    def size(self) -> int:
        """Bytes of the record."""
        return self._struct.size

    def packed(self, given: Any, address: Callable[[Tensor], int]) -> bytes:
        """The bytes of a dict or NamedTuple that has the fields, and maybe others.

        Raises:
            KeyError: a field is not there. TypeError: a tensor's dtype is not that of the pointer. What ``address``
            raises.
        """
        return self._struct.pack(*self._numbers(given, address))

    def unpacked(self, given: bytes) -> dict[str, Any]:
        """The fields of a record without records."""
        return dict(zip((field.name for field in self.fields), self._struct.unpack(given), strict=True))

    def _numbers(self, given: Any, address: Callable[[Tensor], int]) -> list[Any]:
        try:
            values = self._of_mapping(given) if isinstance(given, dict) else self._of_record(given)
        except AttributeError as error:
            raise KeyError(error.name) from None
        found: list[Any] = []
        for (name, code, dtype, record), value in zip(self.fields, values, strict=True):
            if code != _POINTER:
                if record is None:
                    found.append(value)
                else:
                    found += record._numbers(value, address)
            elif value is None:
                found.append(0)
            elif value.dtype is dtype or dtype is None:
                found.append(address(value))
            else:
                raise TypeError(f"{name} has dtype {value.dtype}, expected {dtype}")
        return found


def _all_of(getter: Callable[..., Any], names: Sequence[str]) -> Callable[[Any], Any]:
    """A getter of all these names as a tuple."""
    get = getter(*names)
    return get if len(names) > 1 else lambda given: (get(given),)


class Kernel:
    """A function of the extension, called with its parameters by name: records, lists of records, and numbers."""

    def __init__(
        self, module: ModuleType, name: str, dtype: torch.dtype | None, address: Callable[[Tensor], int]
    ) -> None:
        signature = getattr(module, "signatures", {}).get(name)
        if signature is None:
            raise RuntimeError(f"the native extension has no function {name}: {REBUILD}")
        self.name = name
        self._function = getattr(module, name)
        self._address = address
        self._parameters: list[tuple[str, Layout | None]] = []
        for parameter, text, size in signature:
            layout = Layout(text, dtype, module.records) if text else None
            if layout is not None and layout.size != size:
                raise RuntimeError(f"{name}: {parameter} takes {size} bytes, and its fields {layout.size}: {REBUILD}")
            self._parameters.append((parameter, layout))
        self.parameters = tuple(parameter for parameter, _ in self._parameters)

    def __call__(self, **given: Any) -> Any:
        """Calls it.

        Raises:
            TypeError, ValueError: a parameter or field is missing, or a tensor is not what the kernel reads.
        """
        arguments: list[Any] = []
        for parameter, layout in self._parameters:
            try:
                value = given[parameter]
                if layout is None or isinstance(value, bytes):
                    arguments.append(value)
                elif isinstance(value, list):
                    arguments.append(b"".join(layout.packed(x, self._address) for x in value))
                else:
                    arguments.append(layout.packed(value, self._address))
            except KeyError as error:
                raise TypeError(f"{self.name}: {parameter} lacks {error}") from None
            except (TypeError, ValueError) as error:
                raise type(error)(f"{self.name}: {parameter}: {error}") from None
        return self._function(*arguments)


REBUILD = "m2t_fast._native was built from other sources, install m2t_fast again"


@functools.cache
def kernel(module: ModuleType, name: str, dtype: torch.dtype | None, address: Callable[[Tensor], int]) -> Kernel:
    """The function ``name`` of the extension for tensors of ``dtype``; None: it has but one."""
    suffix = "" if dtype is None else f"_{str(dtype).removeprefix('torch.')}"
    return Kernel(module, name + suffix, dtype, address)


@functools.cache
def record(module: ModuleType, name: str) -> Layout:
    """The layout of a record of numbers that the extension names."""
    return Layout(module.records[name], None, module.records)


def declared(text: str) -> Iterator[tuple[str, str, bool]]:
    """(type, name, whether a pointer) of the fields of a declaration such as ``const T *x, *y; int n;``."""
    for statement in filter(None, (part.strip() for part in text.split(";"))):
        found = re.fullmatch(r"(?:const )?([\w:]+)(?:<T>)?\s*(.+)", statement)
        if found is None:
            raise ValueError(f"a record's field: got {statement!r}, expected a type and names")
        for name in found[2].split(","):
            yield found[1], name.strip(" *"), "*" in name


def interface(module: ModuleType) -> str:
    """A hash of all records that the extension's functions take, by the text of their declarations."""
    texts = {text for signature in module.signatures.values() for _, text, _ in signature if text}
    return _hash(texts | set(module.records.values()))


def interface_of_sources(folders: Sequence[Path]) -> str:
    """What :func:`interface` gives of an extension that was built from these folders."""
    found: set[str] = set()
    for path in (path for folder in folders for path in folder.glob("*") if path.suffix in (".h", ".cpp")):
        source = re.sub(r"//[^\n]*", "", path.read_text())
        found.update(re.findall(r"M2T_FIELDS\(([^()]*)\)", source.replace("#define M2T_FIELDS(...)", "")))
    return _hash(found)


def _hash(texts: set[str]) -> str:
    plain = sorted({re.sub(r"\s", "", text) for text in texts})
    return hashlib.sha256("\n".join(plain).encode()).hexdigest()[:16]


def why_stale(module: ModuleType, *folders: str) -> str | None:
    """Why an extension must be built again, or None: in a checkout its records are those of the sources."""
    if not hasattr(module, "signatures"):
        return REBUILD
    paths = [SOURCES / folder for folder in folders]
    if not all(path.is_dir() for path in paths) or interface(module) == interface_of_sources(paths):
        return None
    return REBUILD
