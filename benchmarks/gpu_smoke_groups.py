"""What the smoke looks at: groups of rows, a row one op, size and dtype on one backend against float64.

The ops are those of ``m2t_fast.numerics``: one that is added there is looked at here. torch is imported only where
rows are made.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

GROUPS = (
    "cuda:search-large",
    "triton:attention",
    "cuda:attention",
    "train",
    "triton:guided",
    "cuda:guided",
    "cuda:search",
    "triton:gate",
    "cuda:gate",
    "triton:other",
    "cuda:other",
    "captured",
)
"""The longest first."""
LIMITS = {"float32": 3e-5, "bfloat16": 4e-2, "float16": 1e-2}
"""Relative errors in norm; gradients on the scale of the largest."""
HUMANML3D = dict(T=100, H=256, D=256, C=256, E=128, M=640, V=3200)


class Row(NamedTuple):
    """One line of the smoke."""

    name: str
    check: Callable[[], tuple[float, float]]
    """The error and what is allowed."""


def rows(group: str, device: str) -> Iterator[Row]:
    """The rows of a group, with tensors on ``device``; "cpu" is the stand-in, which gets small sizes alone."""
    backend, _, what = group.partition(":")
    if group == "train":
        from gpu_smoke_train import training_rows

        yield from training_rows(device)
    elif group == "captured":
        yield from _captured_rows(device)
    elif what.startswith("search"):
        from gpu_smoke_decode import decoding_rows

        yield from decoding_rows(device, large=what == "search-large")
    else:
        yield from _op_rows(backend, what, device)


def _dtypes(backend: str) -> tuple[Any, ...]:
    import torch

    short = (torch.float32, torch.bfloat16)
    if os.environ.get("M2T_FAST_REHEARSAL") and backend == "triton":
        return short[:1]  # the interpreter takes its time
    return (*short, torch.float16) if backend == "triton" else short


def _kind(op: str) -> str:
    """The group that an op of ``numerics.OPS`` belongs to."""
    if op.startswith("guided"):
        return "guided"
    if op in ("spatio_temporal_attention", "additive_attention"):
        return "attention"
    return "gate" if op in ("gated_decoder_step", "lstm_cells") else "other"


def cases(op: str, device: str) -> dict[str, Any]:
    """Cases by name: small ones of the op's own, and a model's sizes."""
    from m2t_fast import numerics
    from m2t_fast.ops.cases import AttentionCase, GateCase, GuidedCase, LstmCase

    own = numerics.OPS[op].cases
    few = {name: case for name, case in own.items() if name.endswith(("plain", "odd"))} or dict(list(own.items())[:2])
    if device == "cpu":
        return dict(list(few.items())[:1])
    more: dict[str, Any] = {}
    first = next(iter(own.values()))
    guided = isinstance(first, GuidedCase)
    first = first.case if guided else first
    if isinstance(first, AttentionCase):
        for s in (6, 1):
            more[f"model S={s}"] = AttentionCase(B=4, T=100, L=23, S=s, H=256, D=256)
            more[f"kit S={s}"] = AttentionCase(B=3, T=37, L=5, S=s, H=128, D=128)
            more[f"odd sizes S={s}"] = AttentionCase(B=3, T=13, L=3, S=s, H=59, D=111)
    if isinstance(first, GateCase):
        for b, words in ((1, 1), (3, 1), (4, 70)):
            more[f"model {b * words} rows"] = GateCase(B=b, L=words, H=256, C=256, E=128, D=256)
    if isinstance(first, LstmCase):
        for b in (1, 5, 8, 64, 70):
            more[f"model {b} rows"] = LstmCase(B=b, E=128, C=256)
    return {**few, **{name: GuidedCase(case) if guided else case for name, case in more.items()}}


def inputs_of(case: Any, dtype: Any, device: str) -> Any:
    """A record of inputs whose weights have a trained model's size: larger ones would only saturate."""
    from m2t_fast.ops.cases import AttentionCase, GateCase
    from m2t_fast.records import converted

    x, of = converted(case.record(dtype), lambda v: v.to(device)), getattr(case, "case", case)
    if isinstance(of, AttentionCase):
        root = of.D**0.5
        return x._replace(temporal_weight=x.temporal_weight / root, spatial_weight=x.spatial_weight / root)
    if isinstance(of, GateCase):
        weights = {n: w / w.shape[-1] ** 0.5 for n, w in x._asdict().items() if n.endswith("_weight") and w.dim() == 2}
        return x._replace(**weights)
    return x


def _op_rows(backend: str, kind: str, device: str) -> Iterator[Row]:
    from m2t_fast import numerics
    from m2t_fast.ops import registry

    for op in numerics.OPS:
        if _kind(op) != kind or registry.resolve(op, backend, device) != backend:
            continue
        for name, case in cases(op, device).items():
            for dtype in _dtypes(backend):
                title = f"{op} {name} {str(dtype).removeprefix('torch.')}"
                yield Row(title, lambda op=op, case=case, dtype=dtype: _against(backend, op, case, dtype, device))
    if kind == "attention" and device != "cpu":
        yield from _context_rows(backend, device)
    if kind == "other" and registry.resolve("random_draws", backend, device) == backend:
        for dtype in _dtypes(backend):
            title = f"random_draws {str(dtype).removeprefix('torch.')}"
            yield Row(title, lambda dtype=dtype: _draws(backend, dtype, device))


def _results(function: Callable[..., Any], x: Any, wanted: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Outputs, and gradients of a weighted sum of them."""
    import torch

    x = x._replace(**{name: getattr(x, name).detach().requires_grad_() for name in wanted})
    out = function(*x)
    out = tuple(out) if isinstance(out, tuple) else (out,)
    if not wanted:
        return [v.detach() for v in out], []
    g = torch.Generator().manual_seed(1)
    weights = [torch.randn(o.shape, generator=g, dtype=torch.float64).to(o) for o in out]
    total = torch.stack([(o * w).double().sum() for o, w in zip(out, weights, strict=True)]).sum()
    leaves = [getattr(x, name) for name in wanted]
    grads = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [v.detach() for v in out], list(grads)


def _double(x: Any) -> Any:
    from m2t_fast.records import converted

    return converted(x, lambda v: v.double() if v.is_floating_point() else v)


def _against(backend: str, op: str, case: Any, dtype: Any, device: str) -> tuple[float, float]:
    """The worst relative error of outputs and gradients."""
    from m2t_fast import numerics, use_backend

    entry = numerics.OPS[op].op
    x = inputs_of(case, dtype, device)
    true, true_grads = _results(entry.reference, _double(x), entry.gradients)
    with use_backend(backend):
        found, grads = _results(entry, x, entry.gradients)
    return worst(found, true, grads, true_grads), LIMITS[str(dtype).removeprefix("torch.")]


def worst(found: list[Any], true: list[Any], grads: list[Any], true_grads: list[Any]) -> float:
    """Largest relative error in norm; infinite where something is NaN."""
    errors = [_relative(a, b, float(b.double().norm())) for a, b in zip(found, true, strict=True)]
    if true_grads:
        largest = max(float(g.double().norm()) for g in true_grads)
        errors += [_relative(a, b, largest) for a, b in zip(grads, true_grads, strict=True)]
    return max((e if e == e else float("inf") for e in errors), default=0.0)


def _relative(found: Any, true: Any, scale: float) -> float:
    difference = float((found.double() - true.double()).norm())
    return difference / scale if scale > 0 else difference


def _context_rows(backend: str, device: str) -> Iterator[Row]:
    """The context alone, what a search in Python asks for: few words, many frames."""
    from m2t_fast import ops, reference, use_backend
    from m2t_fast.ops.cases import AttentionCase

    for s in (6, 1):
        for dtype in _dtypes(backend):

            def check(s: int = s, dtype: Any = dtype) -> tuple[float, float]:
                x = inputs_of(AttentionCase(B=4, T=300, L=2, S=s, H=64, D=64), dtype, device)
                true = reference.spatio_temporal_attention(*_double(x)).context
                with use_backend(backend):
                    found = ops.spatio_temporal_context(*x)
                return worst([found], [true], [], []), LIMITS[str(dtype).removeprefix("torch.")]

            yield Row(f"context alone S={s} {str(dtype).removeprefix('torch.')}", check)


def _draws(backend: str, dtype: Any, device: str) -> tuple[float, float]:
    """Random draws: the processor's bits."""
    import torch

    from m2t_fast import ops, use_backend

    state = torch.tensor([3, 7])
    with use_backend("reference"):
        expected = ops.random_draws(state, 3, 9, 70, 0.5, 0.3, dtype=dtype)
    with use_backend(backend):
        found = ops.random_draws(state.to(device), 3, 9, 70, 0.5, 0.3, dtype=dtype)
    return float(sum(not torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))), 0.0


def _captured_rows(device: str) -> Iterator[Row]:
    """Every op, forward and backward, captured and replayed: the bits of the call, on the default stream and beside it.

    Kernels loaded or specialised while a graph is captured, and launches that depend on the one before, fail here.
    """
    import torch
    from gpu_part import captured, synchronize

    from m2t_fast import numerics, use_backend
    from m2t_fast.ops import registry

    for backend in ("cuda", "triton"):
        for op in numerics.OPS:
            if registry.resolve(op, backend, device) != backend or (device == "cpu" and backend == "triton"):
                continue
            name, case = list(cases(op, device).items())[-1]

            def check(backend: str = backend, op: str = op, case: Any = case) -> tuple[float, float]:
                entry = numerics.OPS[op].op
                x = inputs_of(case, torch.float32, device)
                wanted = [getattr(x, name).requires_grad_() for name in entry.gradients]

                def run() -> list[Any]:
                    # Indices are within bounds: looking would wait for the device.
                    out = entry.in_bounds(*x)
                    out = list(out) if isinstance(out, tuple) else [out]
                    floats = [o for o in out if o.requires_grad]
                    ones = [torch.ones_like(o) for o in floats]
                    grads = torch.autograd.grad(floats, wanted, ones, allow_unused=True) if floats else ()
                    return [v.detach() for v in (*out, *grads) if v is not None]

                with use_backend(backend):
                    expected = [x.clone() for x in run()]
                    try:
                        with no_checks():
                            found = captured(run, device)()
                        synchronize(device)
                    except RuntimeError as error:
                        # What torch keeps of a capture that failed spoils later ones.
                        raise RuntimeError(f"CUDA error in a capture: {error}") from error
                return float(sum(not torch.equal(a, b) for a, b in zip(found, expected, strict=True))), 0.0

            yield Row(f"{backend} {op} {name}", check)


@contextlib.contextmanager
def no_checks() -> Iterator[None]:
    """Inside the block ops take indices as they are: to look at them waits for the device."""
    modules: list[Any] = [m for name, m in sys.modules.items() if name.startswith("m2t_fast.ops.")]
    checking = [module for module in modules if hasattr(module, "checked_indices")]
    before = [module.checked_indices for module in checking]
    for module in checking:
        module.checked_indices = lambda name, values, *limits: values
    try:
        yield
    finally:
        for module, check in zip(checking, before, strict=True):
            module.checked_indices = check
