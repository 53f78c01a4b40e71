"""An op: what a call does before the dispatcher, and schema, fake, autograd and checks that its declaration gives.

``define`` (define.py) makes one of a function of ``m2t_fast.reference``.
"""

from __future__ import annotations

import itertools
import threading
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from m2t_fast import records
from m2t_fast import reference as equations
from m2t_fast.ops import registry
from m2t_fast.ops.casts import cast as cast_to
from m2t_fast.ops.checks import autocast_dtype, checked_indices, transformed
from m2t_fast.ops.documentation import documentation
from m2t_fast.ops.outputs import check_results, kind_dtype, outputs_of, returns
from m2t_fast.ops.packing import Packing, fingerprint
from m2t_fast.ops.registration import register
from m2t_fast.record_checks import check
from m2t_fast.records import Field, Index, Kind, Sizes, fields

P = ParamSpec("P")
R = TypeVar("R")


class Op(Generic[P, R]):
    """An op: call it with the fields of its inputs. Everything else about it is read by the package's own tools."""

    def __init__(self, reference: Callable[P, R], **declared: Any):
        function: Any = reference
        self.reference = reference
        self.name: str = declared["name"] or function.__name__
        self._finish = declared["finish"]
        self.reference_of_record: Any = function.of_record
        self.inputs: Any = function.record
        self.file: str = declared["file"]
        self.differentiable: bool = declared["differentiable"]
        self.autocast: bool = declared["autocast"]
        self.is_data: bool = declared["is_data"]
        self.otherwise: Any = declared["otherwise"]
        self.otherwise_backward: Any = declared["otherwise_backward"]
        self.made_of: tuple[str, ...] = declared["made_of"]
        self._check, self._check_values = declared["check"], declared["check_values"]
        self._on_request = declared["on_request"]
        self._derive = getattr(self.inputs, "derive", None)
        self.output, self.outputs = outputs_of(function.of_record)
        self.trained: tuple[str, ...] = tuple(declared["trained"] or [name for name, _ in self.outputs])
        self._fitting: set[Any] = set()  # keys of arguments whose shapes, dtypes and devices were checked
        self.fields: tuple[Field, ...] = fields(self.inputs)
        self.gradients = records.float_fields(self.inputs) if self.differentiable else ()
        """The inputs that have a gradient."""
        self._highest = {f.name: records.parsed(str(f.kind.high)) for f in self.fields if isinstance(f.kind, Index)}
        self._places = records.places(self.inputs)
        self._inner_places = tuple(
            (f.name, records.places(f.record)) for f in self.fields if f.record is not None and not f.optional
        )
        self._indices = tuple(f for f in self.fields if isinstance(f.kind, Index))
        self._packing = Packing(self.inputs)
        self._keeps: dict[str, Kind] = {
            name: kind if isinstance(kind, Kind) else Kind(kind) for name, kind in declared["keeps"].items()
        }
        self._saves, self._saves_if_kept, self._unread = (
            declared["saves"], declared["saves_if_kept"], declared["unread"],
        )  # fmt: skip
        make: Any = namedtuple
        self._saved = make(f"{self.name}_saved", [*self._saves, *self._saves_if_kept, *self._keeps])
        self.nothing_saved: Any = self._saved(*[None] * len(self._saved._fields))
        """What a gradient gets where the forward pass kept nothing."""
        self.__name__ = self.__qualname__ = self.name
        self.__module__ = f"m2t_fast.ops.{self.file}"
        self.__signature__ = records.signature(self.inputs)
        self.__doc__ = documentation(self, reference.__doc__ or "")
        self._register()
        registry.OPS[self.name] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The op, after checking everything about its arguments."""
        x = self._checked(self.inputs(*args, **kwargs))
        if self._check is not None:
            self._check(x)
        x = self._within_bounds(x)
        if self._check_values is not None:
            self._check_values(x)
        found = self._run(x)
        return found if self._finish is None else cast(R, self._finish(found))

    def in_bounds(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The op for callers whose indices and options are known to be within bounds: it waits for no device.

        Shapes, dtypes and devices are checked all the same.
        """
        return self._run(self._checked(self.inputs(*args, **kwargs)))

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    # What a call does before the dispatcher.

    def _checked(self, x: Any) -> Any:
        """The inputs in the dtype of autocast, their shapes, dtypes and devices checked."""
        if self._packing.coerces:
            x = self._packing.coerced(x)
        if self.autocast and (dtype := autocast_dtype(x[0])) is not None:
            x = self._cast(x, dtype)
        if torch.compiler.is_compiling():
            return x  # the fake implementation checks: here every size would become a guard
        key = self._packing.key(x)
        if key not in self._fitting:
            check(self.name, x)
            if self._check is not None:
                self._check(x)
            self._remember(key)
        return x

    def _remember(self, key: Any) -> None:
        if len(self._fitting) >= records.REMEMBERED:
            self._fitting.clear()
        self._fitting.add(key)

    def _cast(self, x: Any, dtype: torch.dtype) -> Any:
        return records.converted(
            x, lambda v: cast_to(v, dtype) if v.is_floating_point() and v.dtype != torch.float64 else v
        )

    def _refuse_tangents(self, x: Any) -> None:
        for tensor in records.tensors(x):
            if forward_ad.unpack_dual(tensor).tangent is not None:
                raise NotImplementedError(
                    f"{self.name}: an input carries a forward-mode tangent; expected none, its kernels have gradients "
                    'in reverse mode alone (use torch.autograd.grad, or use_backend("autograd"))'
                )

    def _sizes(self, x: Any) -> Sizes:
        """The letters' sizes; torch.compile traces it, and reads the declaration as it stands here."""
        sizes: Sizes = {}
        for name, places in self._places:
            shape = getattr(x, name).shape
            for letter, axis, more in places:
                sizes[letter] = shape[axis] - more
        for name, inner in self._inner_places:
            for tensor, places in inner:
                shape = getattr(getattr(x, name), tensor).shape
                for letter, axis, more in places:
                    sizes[letter] = shape[axis] - more
        return sizes

    def _within_bounds(self, x: Any) -> Any:
        """The inputs with every index as int64 and checked."""
        changed = {}
        sizes: Sizes | None = None
        for field in self._indices:
            value = getattr(x, field.name)
            if value is not None and isinstance(field.kind, Index):
                if sizes is None:
                    sizes = self._sizes(x)
                high = records.value_of(self._highest[field.name], sizes, self._derive)
                changed[field.name] = checked_indices(f"{self.name}: {field.name}", value, field.kind.low, high)
        return x._replace(**changed) if changed else x

    def _run(self, x: Any) -> R:
        if not self.differentiable and torch.is_grad_enabled():
            with torch.no_grad():
                return self._run(x)
        backend = registry.chosen_backend()
        if (backend == registry.AUTOGRAD and not self.is_data) or (self.differentiable and transformed()):
            # By its name, so that what stands in for the equations runs.
            run: Any = getattr(equations, self.name, self.reference)
            return cast(R, run(*x))
        if forward_ad._current_level >= 0:
            self._refuse_tangents(x)
        flat = self._packing.pack(x)
        more: tuple[Any, ...] = (backend,)
        if self._keeps:
            more = torch.is_grad_enabled() and any(v.requires_grad for v in x if isinstance(v, Tensor)), backend
        if torch.compiler.is_compiling():
            found = self._forward(*flat, *more)
        else:
            _own_call.op = self
            try:
                found = self._forward(*flat, *more)
            finally:
                _own_call.op = None
        if self.output is None:
            return cast(R, found[0] if self._keeps else found)
        return cast(R, self.output(*found[: len(self.outputs)]))

    # What is registered.

    def _register(self) -> None:
        results = len(self.outputs) + len(self._keeps)
        keep = ["bool keep"] if self._keeps else []
        arguments = ", ".join([*self._packing.schema(), *keep, "str backend"])
        schema = f"({arguments}) -> {returns(results)}"
        backward, setup_context = (
            (self._autograd_backward, self._setup_context) if self.differentiable else (None, None)
        )
        self._forward = register(
            self.name, self._forward_here, self._forward_fake, backward, setup_context, schema=schema
        )
        if not self.differentiable:
            return
        self._backward_packing = Packing(self.inputs, unread=self._unread)
        grads = [f"Tensor? grad_{name}" for name, _ in self.outputs]
        saved = [f"Tensor{'' if name in self._saves else '?'} saved_{name}" for name in self._saved._fields]
        needed = [f"bool need_{name}" for name in self._on_request]
        arguments = ", ".join([*grads, *self._backward_packing.schema(), *saved, *needed, "str backend"])
        schema = f"({arguments}) -> {returns(len(self.gradients))}"
        self._backward = register(
            f"{self.name}_backward",
            self._backward_here,
            self._backward_fake,
            self._refuse_second_gradient,
            schema=schema,
        )

    def _forward_here(self, *flat: Any) -> Any:
        *packed, backend = flat
        keep = packed.pop() if self._keeps else False
        x = self._packing.unpack(packed)
        if _own_call.op is self:
            _own_call.op = None
        elif self._packing.key(x) not in self._fitting:  # called by its registered name, or compiled
            check(self.name, x)
            if self._check is not None:
                self._check(x)
        for field in self._indices:
            value = getattr(x, field.name)
            if value is not None and value.dtype != torch.int64:
                raise TypeError(f"{self.name}: {field.name} has dtype {value.dtype}, expected torch.int64")
        if forward_ad._current_level >= 0:
            self._refuse_tangents(x)
        run = registry.implementation(self, backend, x)
        if not self._keeps:
            return _plain(run(x))
        if keep and registry.keeps(self, backend, x):
            outputs, kept = run(x, keep=True)
            return *outputs, *kept
        return *run(x), *(self._empty(x) for _ in self._keeps)

    def _empty(self, x: Any) -> Tensor:
        tensor: Tensor = x[0].new_empty(0)
        return tensor

    def _forward_fake(self, *flat: Any) -> Any:
        *packed, backend = flat
        keep = packed.pop() if self._keeps else False
        x = self._packing.unpack(packed)
        sizes = check(self.name, x)
        first = next(v for v in x if isinstance(v, Tensor))
        made = [self._new(kind, sizes, first, x) for _, kind in self.outputs]
        if not self._keeps:
            return made[0] if len(made) == 1 else tuple(made)
        kept = keep and registry.keeps(self, backend, x)
        return *made, *(self._new(k, sizes, first, x) if kept else self._empty(x) for k in self._keeps.values())

    def _new(self, kind: Kind, sizes: Sizes, like: Tensor, x: Any) -> Tensor:
        shape = records.shape_of(kind, sizes, self._derive)
        return like.new_empty(shape, dtype=kind_dtype(kind, x))

    def _setup_context(self, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *packed, ctx.backend = inputs
        if self._keeps:
            packed.pop()
        outputs = output if isinstance(output, tuple) else (output,)
        named = dict(zip([*(name for name, _ in self.outputs), *self._keeps], outputs, strict=True))
        kept = any(named[name].dim() > 1 for name in self._keeps)
        saved = [named[name] if name in self._saves or kept else None for name in self._saved._fields]
        given, ctx.options = self._backward_packing.split(self._packing.unpack(packed))
        ctx.save_for_backward(*given, *saved)
        ctx.set_materialize_grads(False)  # an output that nobody used costs its gradient nothing

    def _autograd_backward(self, ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        more = 1 + bool(self._keeps)
        if all(grad is None for grad in grads[: len(self.outputs)]):
            return (None,) * (len(self._packing.names) + more)
        names = [f.name for f in self.fields]
        needed = [ctx.needs_input_grad[names.index(name)] for name in self._on_request]
        tensors = ctx.saved_tensors
        count = len(tensors) - len(self._saved._fields)
        given = self._backward_packing.joined(tensors[:count], ctx.options)
        outputs = len(self.outputs)
        found = self._backward(*grads[:outputs], *given, *tensors[count:], *needed, ctx.backend)
        found = (found,) if len(self.gradients) == 1 else found
        by_name = dict(zip(self.gradients, found, strict=True))
        for name, need in zip(self._on_request, needed, strict=True):
            if not need:
                by_name[name] = None
        return *(by_name.get(name) for name in self._packing.names), *[None] * more

    def _refuse_second_gradient(self, ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(
            f"{self.name}: a gradient of its gradient was asked for; expected one gradient, its kernels have no second "
            '(use_backend("autograd") has: there plain PyTorch runs the equations)'
        )

    def _backward_here(self, *flat: Any) -> Any:
        grads, x, saved, needed, backend = self._unpack_backward(flat)
        key = fingerprint(flat)
        if key not in self._fitting:  # as a rule autograd calls, but the registered name is everybody's
            self._check_backward(grads, x, saved)
            self._remember(key)
        run = registry.implementation(self, backend, x, "_backward")
        more = {f"need_{name}": need for name, need in needed.items()}
        found = run(grads, x, saved, **more) if self._saved._fields else run(grads, x, **more)
        for name, need in needed.items():
            if not need:
                found[name] = self._empty(x)
        made = tuple(found[name] for name in self.gradients)
        return made[0] if len(made) == 1 else made

    def _check_backward(self, grads: Any, x: Any, saved: Any) -> None:
        """Whether inputs, gradients and what was saved fit one another."""
        name = f"{self.name}_backward"
        sizes = check(name, x, self._unread)
        kinds = dict(self.outputs) | self._keeps
        given = zip((n for n, _ in self.outputs), grads if self.output is not None else (grads,), strict=True)
        pairs = [(f"grad_{n}", kinds[n], v) for n, v in given]
        pairs += [(f"saved_{n}", kinds[n], v) for n, v in saved._asdict().items()]
        check_results(name, x, sizes, self._derive, pairs)

    def _backward_fake(self, *flat: Any) -> Any:
        _, x, _, needed, _ = self._unpack_backward(flat)
        sizes = records.sizes_of(x)
        first = next(v for v in x if isinstance(v, Tensor))
        made = []
        for field in self.fields:
            if field.name in self.gradients:
                assert field.kind is not None
                asked = needed.get(field.name, True)
                made.append(self._new(field.kind, sizes, first, x) if asked else self._empty(x))
        return made[0] if len(made) == 1 else tuple(made)

    def _unpack_backward(self, flat: Sequence[Any]) -> tuple[Any, Any, Any, dict[str, bool], str]:
        outputs, saves = len(self.outputs), len(self._saved._fields)
        rest = iter(flat)
        grads = list(itertools.islice(rest, outputs))
        packed = list(itertools.islice(rest, len(self._backward_packing.names)))
        saved = self._saved(*itertools.islice(rest, saves))
        needed = dict(zip(self._on_request, itertools.islice(rest, len(self._on_request)), strict=True))
        made = grads[0] if self.output is None else self.output(*grads)
        return made, self._backward_packing.unpack(packed), saved, needed, next(rest)


class _OwnCall(threading.local):
    """The op that checked its arguments and is about to be dispatched, which need not check them again."""

    op: Any = None


_own_call = _OwnCall()


def _plain(outputs: Any) -> Any:
    return outputs if isinstance(outputs, Tensor) else tuple(outputs)
