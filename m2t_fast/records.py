"""Records: NamedTuples of tensors whose fields say what they hold, so that nothing else has to repeat it.

::

    class LossInputs(NamedTuple):
        spatial: Annotated[Tensor, "B L T P"]            # the op's float dtype
        lengths: Annotated[Tensor, Index("B", 1, "T")]   # int64, from 1 to T
        scale: float = 1.0                               # no tensor: an option

A shape is written in the glossary's letters. A dimension is a number, a letter, or a sum, product or quotient of them
("E+D+C", "4*C", "P*H//I"). A letter gets its size from the first tensor that has it alone (or as "N+1"), else from the
record's ``derive(letter, sizes)``.
"""

from __future__ import annotations

import ast
import functools
import operator
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
Sizes = dict[str, int]
"""The size of each letter."""
DERIVED = ("R",)
"""Letters that follow from others: R, rows of a spatial weight, from S and P."""
Dimension = int | str | tuple[Any, ...]
"""A number, a letter, or (operator, left, right)."""


@dataclass(frozen=True)
class Kind:
    """What a tensor holds: floats of the op's dtype. ``name`` is that of an op's only output."""

    shape: str
    name: str = ""

    @functools.cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The shape, parsed."""
        return tuple(parsed(x) for x in self.shape.split())


class Data(Kind):
    """Floats of the op's dtype that take no gradient."""


class Wide(Kind):
    """Floats of the op's dtype, in float32 where that is shorter."""


class Target(Kind):
    """Any dtype, no gradient."""


class Int64(Kind):
    """int64 numbers of any size."""


class Bool(Kind):
    """bool, on any device."""


@dataclass(frozen=True)
class Index(Kind):
    """int64 numbers from ``low`` to ``high``, a number or an expression in letters."""

    low: int = 0
    high: int | str = 0

    def __init__(self, shape: str, low: int, high: int | str):
        for name, value in (("shape", shape), ("name", ""), ("low", low), ("high", high)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Size:
    """Of an option: a whole number that is the size of this letter."""

    letter: str


@dataclass(frozen=True)
class Lists:
    """Of an option: lists of numbers from 0; the sizes of these letters are how many lists and how many numbers."""

    count: str
    total: str


@dataclass(frozen=True)
class Field:
    """One field of a record."""

    name: str
    kind: Kind | None
    """None: an option."""
    record: Any = None
    """The class, if the field is a record in turn."""
    optional: bool = False
    """Whether it may be None."""
    annotation: Any = None
    note: Size | Lists | None = None
    """Of an option that gives letters their sizes."""

    @property
    def differentiable(self) -> bool:
        """Whether it is a float tensor that may take a gradient."""
        return type(self.kind) is Kind


@functools.cache
def fields(record: Any) -> tuple[Field, ...]:
    """The fields of a record, in order."""
    hints = get_type_hints(record, include_extras=True)
    return tuple(_field(name, hints[name]) for name in record._fields)


def fields_of(x: Any) -> tuple[Field, ...]:
    """The fields of a record's class."""
    record: Any = type(x)
    return fields(record)


def _field(name: str, hint: Any) -> Field:
    optional = False
    if get_origin(hint) in (Union, types.UnionType):
        chosen = [x for x in get_args(hint) if x is not type(None)]
        optional, hint = len(chosen) < len(get_args(hint)), chosen[0]
    if get_origin(hint) is Annotated:
        own, note = get_args(hint)
        if isinstance(note, Size | Lists):
            return Field(name, None, None, optional, own, note)
        return Field(name, Kind(note) if isinstance(note, str) else note, None, optional, own)
    if hasattr(hint, "_fields"):
        return Field(name, None, hint, optional, hint)
    return Field(name, None, None, optional, hint)


def float_fields(record: Any) -> tuple[str, ...]:
    """The names of a record's float tensors that may take a gradient, in order."""
    return tuple(field.name for field in fields(record) if field.differentiable)


def tensors(x: Any) -> Iterator[Tensor]:
    """All tensors of a record, those of its records too."""
    for value in x:
        if isinstance(value, Tensor):
            yield value
        elif hasattr(value, "_fields"):
            yield from tensors(value)


def converted(x: Any, change: Callable[[Tensor], Any]) -> Any:
    """The record with ``change`` applied to its tensors, those of its records too."""
    return type(x)(
        *(change(v) if isinstance(v, Tensor) else converted(v, change) if hasattr(v, "_fields") else v for v in x)
    )


def partial(record: Any, **given: Any) -> Any:
    """A record of these fields, the others None."""
    return record(**{**dict.fromkeys(record._fields), **given})


def new(record: Any, x: Any, make: Callable[[tuple[int, ...]], Tensor]) -> Any:
    """A record of new tensors, ``make(shape)`` each, in the sizes that the inputs ``x`` have."""
    key = record, type(x), *(v.shape if isinstance(v, Tensor) else None for v in x)
    shapes = _SHAPES.get(key)
    if shapes is None:
        sizes, derive = sizes_of(x), getattr(type(x), "derive", None)
        shapes = tuple(shape_of(field.kind, sizes, derive) for field in fields(record) if field.kind is not None)
        if len(_SHAPES) >= REMEMBERED:
            _SHAPES.clear()
        _SHAPES[key] = shapes
    return record(*map(make, shapes))


REMEMBERED = 4096
"""So many shapes of inputs are remembered, per op: those that were checked, and what their outputs' are."""
_SHAPES: dict[Any, tuple[tuple[int, ...], ...]] = {}


class from_fields(Generic[P]):  # noqa: N801  (a decorator)
    """Decorates a function of one record as one that takes the record's fields as its arguments."""

    def __init__(self, record: Callable[P, Any]):
        self.record = record

    def __call__(self, function: Callable[[Any], R]) -> Callable[P, R]:
        """The function of the fields; it has the other as ``of_record``."""
        record = self.record

        @functools.wraps(function)
        def of_fields(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(record(*args, **kwargs))

        made: Any = of_fields
        made.record, made.of_record = record, function
        del made.__wrapped__  # its signature is the record's
        made.__signature__ = signature(record)
        return of_fields


def signature(record: Any) -> Any:
    """The signature of a function that takes the record's fields."""
    import inspect

    given = inspect.signature(record)
    hints = get_type_hints(record)
    return given.replace(
        parameters=[p.replace(annotation=hints[name]) for name, p in given.parameters.items()],
        return_annotation=inspect.Signature.empty,
    )


def extended(name: str, record: Any, without: tuple[str, ...] = (), **more: Any) -> Any:
    """A record with the fields of another and, after its last tensor, some more; ``of(x)`` gives the other back."""
    hints, defaults = get_type_hints(record, include_extras=True), record._field_defaults
    kept = {key: hint for key, hint in hints.items() if key not in without}
    options = {key: hint for key, hint in kept.items() if key in defaults}
    order = {**{key: hint for key, hint in kept.items() if key not in options}, **more, **options}
    make: Any = NamedTuple
    made = make(name, list(order.items()))
    values = tuple(defaults[key] for key in order if key in defaults)
    made.__new__.__defaults__ = values
    made._field_defaults = {key: defaults[key] for key in order if key in defaults}
    made.of = staticmethod(lambda x: record(**{key: getattr(x, key) for key in kept}))
    made.__module__, made.__doc__ = record.__module__, f"{record.__name__} and {', '.join(more)}."
    if hasattr(record, "derive"):
        made.derive = staticmethod(record.derive)
    return made


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


@functools.cache
def parsed(text: str) -> Dimension:
    """A dimension from its text: a number, a letter, or a sum, difference, product or quotient."""

    def walk(node: Any) -> Dimension:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)], walk(node.left), walk(node.right)
        return node.id if isinstance(node, ast.Name) else int(ast.literal_eval(node))

    return walk(ast.parse(text, mode="eval").body)


def value_of(dimension: Dimension, sizes: Mapping[str, int], derive: Any = None) -> int:
    """The size of a dimension whose letters are known.

    Raises:
        KeyError: a letter is unknown. ValueError: from ``derive``, the sizes it derives from do not fit.
    """
    if isinstance(dimension, str):
        return sizes[dimension] if dimension in sizes or derive is None else derive(dimension, sizes)
    if isinstance(dimension, tuple):
        apply, left, right = dimension
        result: int = apply(value_of(left, sizes, derive), value_of(right, sizes, derive))
        return result
    return dimension


def shape_of(kind: Kind, sizes: Mapping[str, int], derive: Any = None) -> tuple[int, ...]:
    """The shape of a tensor of this kind."""
    return tuple(value_of(x, sizes, derive) for x in kind.dimensions)


def sizes_of(x: Any) -> Sizes:
    """The letters' sizes in a record whose shapes fit one another."""
    sizes = given_sizes(x)
    for field, value in zip(fields_of(x), x, strict=True):
        if value is None:
            continue
        if field.record is not None:
            for name, size in sizes_of(value).items():
                sizes.setdefault(name, size)
        elif field.kind is not None:
            for dimension, size in zip(field.kind.dimensions, value.shape, strict=True):
                learn(dimension, size, sizes)
    return sizes


def places(record: Any) -> tuple[tuple[str, tuple[tuple[str, int, int], ...]], ...]:
    """For each tensor that is always there the letters that it gives a size: (letter, axis, what N+1 adds to N)."""
    found = []
    for field in fields(record):
        if field.kind is None or field.optional:
            continue
        own = []
        for axis, dimension in enumerate(field.kind.dimensions):
            if isinstance(dimension, str) and dimension not in DERIVED:
                own.append((dimension, axis, 0))
            elif isinstance(dimension, tuple) and dimension[0] is operator.add and isinstance(dimension[2], int):
                own.append((dimension[1], axis, dimension[2]))
        found.append((field.name, tuple(own)))
    return tuple(found)


def given_sizes(x: Any) -> Sizes:
    """The sizes that options give."""
    sizes: Sizes = {}
    for field, value in zip(fields_of(x), x, strict=True):
        if isinstance(field.note, Size):
            sizes[field.note.letter] = value
        elif isinstance(field.note, Lists):
            sizes[field.note.count], sizes[field.note.total] = len(value), sum(len(numbers) for numbers in value)
    return sizes


def learn(dimension: Dimension, size: int, sizes: Sizes) -> bool:
    """Take the size of a letter that stands alone or as N+1 and is new; False for any other dimension."""
    if isinstance(dimension, str):
        if dimension in sizes or dimension in DERIVED:
            return False
        sizes[dimension] = size
        return True
    if isinstance(dimension, tuple) and dimension[0] is operator.add:
        _, letter, more = dimension
        if isinstance(letter, str) and isinstance(more, int) and letter not in sizes:
            sizes[letter] = size - more
            return True
    return False
