"""Hostile arguments for every op: public call, ``in_bounds``, registered op and registered gradient.

``python tests/helpers/hostile.py COUNT [SEED]`` tries so many on the backends of the processor. Whatever the arguments,
a call either raises or gives what the equations give; ``make hostile`` runs this on a copy of the extension built with
AddressSanitizer and UndefinedBehaviorSanitizer, where a read out of bounds ends the process.
"""

from __future__ import annotations

import faulthandler
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from m2t_fast import records, use_backend
from m2t_fast.ops import registry
from m2t_fast.ops.cases import CASES
from m2t_fast.records import Index

BACKENDS = ("cpu", "reference")
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 2**31 - 1, 2**31, -(2**31), 2**62, -(2**63), 2**64, 10**20, 1.5, -0.0, 1e-320, 1e308, float("nan"),
    float("inf"), float("-inf"), True, None, "x", [], {}, torch.zeros(()), object(),
)  # fmt: skip
DTYPES = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool,
    torch.complex64,
)  # fmt: skip
_RAISED = (ValueError, TypeError, RuntimeError, NotImplementedError, OverflowError, IndexError, KeyError,
           AttributeError, AssertionError)  # fmt: skip


def changed(x: Tensor, draw: random.Random, index: bool) -> Any:
    """The tensor with another shape, dtype, device, layout or content, or no tensor at all."""
    kind = draw.randrange(13)
    axis = draw.randrange(x.dim()) if x.dim() else 0
    if kind == 0 and x.dim():
        return x.narrow(axis, 0, draw.randrange(x.shape[axis] + 1))
    if kind == 1 and x.dim():
        return torch.cat([x, x], axis)
    if kind == 2:
        return x.unsqueeze(axis) if draw.random() < 0.5 or not x.dim() else x.select(axis, 0) if x.shape[axis] else x
    if kind == 3 and x.dim():
        return x.transpose(axis, draw.randrange(x.dim()))
    if kind == 4:
        return x.to(draw.choice(DTYPES))
    if kind == 5:
        return x.to("meta")
    if kind == 6 and x.dim() and x.numel():
        return x.narrow(axis, 0, 1).expand(x.shape)
    if kind == 7 and x.numel():
        spread = torch.zeros(3 * x.numel() + 5, dtype=x.dtype)
        view = spread[1 : 1 + 2 * x.numel() : 2].view(-1)[: x.numel()]
        view.copy_(x.reshape(-1))
        return view.as_strided(x.shape, [2 * s for s in x.contiguous().stride()], 1)  # nothing is contiguous
    if kind == 8:
        return draw.choice(NUMBERS)
    if kind == 9 and x.dim():
        return x.flip(axis).clone().requires_grad_(x.is_floating_point())
    if kind == 10:
        return x.to_sparse() if draw.random() < 0.5 and x.dim() else x.reshape(-1)
    if (kind == 11 or index) and x.numel():
        found = x.detach().clone(memory_format=torch.contiguous_format)
        whole = (-1, 2**62, -(2**63), 2**31, 10**8, 0, 2**63 - 1)
        value = draw.choice(whole) if not x.is_floating_point() else draw.choice((float("nan"), float("inf"), 3e38))
        if found.dtype in (torch.int64, torch.float32, torch.float64):
            found.view(-1)[draw.randrange(found.numel())] = value
        return found
    base = x.detach().reshape(-1)
    # At an address that no kernel would choose: one byte, or half a number, behind an aligned one.
    raw = torch.zeros(base.numel() * base.element_size() + 64, dtype=torch.uint8)
    shift = draw.choice((x.element_size(), 2 * x.element_size()))
    moved = raw[shift : shift + base.numel() * base.element_size()].view(x.dtype)
    moved.copy_(base)
    return moved.view(x.shape)


def cases(draw: random.Random) -> Iterator[tuple[str, Any, str]]:
    """Ops with inputs of which one to three are changed, and what was."""
    names = list(CASES)
    while True:
        op = names[draw.randrange(len(names))]
        declared = registry.OPS[op]
        small = [case for name, case in CASES[op].items() if "long" not in name]
        x = draw.choice(small).record(draw.choice((torch.float32, torch.float64, torch.bfloat16)))
        told = []
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            field = draw.choice(declared.fields)
            value = getattr(x, field.name)
            if isinstance(value, Tensor):
                if value.is_meta or value.is_sparse:
                    continue
                value = changed(value, draw, isinstance(field.kind, Index))
            elif hasattr(value, "_fields") and draw.random() < 0.9:
                inner = draw.choice([n for n in value._fields if isinstance(getattr(value, n), Tensor)])
                value = value._replace(**{inner: changed(getattr(value, inner), draw, False)})
            elif field.note is not None:
                value = draw.choice((0, 1, 2, -1, -(2**63), 1.5, None, "x"))  # sizes: of them more is more memory
            else:
                value = draw.choice(NUMBERS)
            x = x._replace(**{field.name: value})
            told.append(f"{field.name}={_shown(value)}")
        yield op, x, ", ".join(told)


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype}{tuple(value.shape)} on {value.device}"
    return repr(value)[:60]


def attempt(op: str, x: Any, draw: random.Random) -> str | None:
    """Calls the op in one of its ways on every backend; what is wrong, None if nothing is."""
    declared = registry.OPS[op]
    way = draw.choice(("public", "public", "in_bounds", "registered", "gradient", "registered gradient"))
    made = {}
    for backend in BACKENDS:
        with use_backend(backend):
            try:
                made[backend] = _ways(declared, x, way, backend)
            except _RAISED:
                continue
    if len(made) < 2 or way not in ("public", "gradient"):
        return None  # past the public call out-of-bounds indices may give anything that is in bounds of the memory
    dense = [v for v in records.tensors(x) if v.is_floating_point() and not v.is_meta and not v.is_sparse]
    options = [v for v in x if isinstance(v, float)]
    if not all(bool(v.isfinite().all()) for v in dense) or not all(map(math.isfinite, options)):
        return None  # where NaN goes is nobody's promise
    short = any(v.dtype in (torch.bfloat16, torch.float16) for v in records.tensors(x))
    return _difference(*(made[backend] for backend in BACKENDS), way, 0.2 if short else 2e-3)


def _ways(declared: Any, x: Any, way: str, backend: str) -> tuple[Any, ...]:
    if way == "public":
        return _tuple(declared(*x))
    if way == "in_bounds":
        return _tuple(declared.in_bounds(*x))
    if way == "registered":
        keep = [True] if declared._keeps else []
        return _tuple(getattr(torch.ops.m2t_fast, declared.name)(*declared._packing.pack(x), *keep, backend))
    if not declared.differentiable:
        return ()
    if way == "gradient":
        wanted = [getattr(x, name) for name in declared.gradients]
        wanted = [v.detach().requires_grad_() for v in wanted if isinstance(v, Tensor)]
        given = dict(zip((n for n in declared.gradients if isinstance(getattr(x, n), Tensor)), wanted, strict=True))
        outputs = [v for v in _tuple(declared(*x._replace(**given))) if v.requires_grad]
        if not outputs or any(v.is_meta for v in outputs):
            return ()
        return torch.autograd.grad([v.float().sum() for v in outputs], wanted, allow_unused=True)
    good = next(iter(CASES[declared.name].values())).record(torch.float32)  # what was saved is of other inputs
    with torch.no_grad():
        outputs = dict(zip((n for n, _ in declared.outputs), _tuple(declared(*good)), strict=True))
    saved = [outputs.get(n) for n in declared._saved._fields]
    needed = [True] * len(declared._on_request)
    grads = [torch.ones_like(v) for v in outputs.values()]
    backward = getattr(torch.ops.m2t_fast, f"{declared.name}_backward")
    return _tuple(backward(*grads, *declared._backward_packing.pack(x), *saved, *needed, backend))


def _tuple(found: Any) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, tuple | list) else (found,)


def _difference(ours: tuple[Any, ...], theirs: tuple[Any, ...], way: str, share: float) -> str | None:
    """Results that differ by more than a share of the largest of all: some, as a bias that cancels, are rounding."""
    if len(ours) != len(theirs):
        return f"{len(ours)} results, expected {len(theirs)}"
    scale = max((_largest(v) for v in theirs if isinstance(v, Tensor)), default=0.0)
    for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if (
            not (isinstance(a, Tensor) and isinstance(b, Tensor))
            or a.is_meta
            or b.is_meta
            or a.is_sparse
            or b.is_sparse
        ):
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{way}: result {place} is {_shown(a)}, expected {_shown(b)}"
        a, b = a.detach().double(), b.detach().double()
        there = a.isfinite() & b.isfinite()
        most = share * max(scale, 1e-3)
        if bool(((a - b).abs()[there] > most).any()) or (scale < 1e30 and bool((a.isfinite() != b.isfinite()).any())):
            return f"{way}: result {place} differs from that of the equations"
    return None


def _largest(x: Tensor) -> float:
    if x.is_meta or x.is_sparse:
        return 0.0
    found = x.detach().double()
    return float(found[found.isfinite()].abs().max()) if bool(found.isfinite().any()) else 0.0


def run(count: int, seed: int = 0, say: Callable[[str], None] = print) -> int:
    """Tries ``count`` hostile calls; how many gave something else than an error or the equations' result."""
    draw, counts, failed = random.Random(seed), Counter[str](), 0
    for op, x, told in cases(draw):
        if counts.total() == count:
            break
        counts[op] += 1
        if (wrong := attempt(op, x, draw)) is not None:
            failed += 1
            say(f"{op}: {told}: {wrong}")
    say(f"{counts.total()} hostile calls of {len(counts)} ops, 0 crashes, {failed} wrong results; seed {seed}")
    return failed


if __name__ == "__main__":
    faulthandler.enable()
    torch.set_num_threads(2)
    sys.exit(min(1, run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
