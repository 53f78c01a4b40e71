"""Every op, backend and dtype that can run here against the float64 reference, by the numerics policy.

An op in dtype X passes when its error against the truth is at most twice (gradients: three times) that of the plain
PyTorch reference in dtype X on the same inputs, plus a floor relative to the output's scale. All gradients of an op
share one scale: some are 0 by cancellation of terms as large as the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast.ops import registry
from m2t_fast.ops.cases import CASES
from m2t_fast.ops.op import Op
from m2t_fast.ops.registry import available_backends, use_backend
from m2t_fast.records import converted

FLOOR = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-3}
"""Absolute tolerance as a share of the output's largest value."""
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
"""What :func:`validate` compares by default; float16 is for autocast on GPUs, whose tests include it."""
FACTOR, GRADIENT_FACTOR = 2.0, 3.0
DRAWS = 6
"""Random inputs per case; the largest error over them counts on both sides: in one draw either may be small by luck."""


class Row(NamedTuple):
    """One op, case, backend and dtype: the output or gradient that comes nearest to its tolerance, or exceeds it."""

    op: str
    case: str
    backend: str
    dtype: str
    worst: str
    """Name of an output, or ``d_NAME`` of an input's gradient."""
    error: float
    """Largest absolute error of ``worst``."""
    allowed: float
    """What the policy allows it."""

    @property
    def passed(self) -> bool:
        """Whether every output and gradient is within tolerance; NaN is not."""
        return self.error <= self.allowed


class _Op(NamedTuple):
    op: Op[..., Any]
    cases: Mapping[str, Any]


OPS: dict[str, _Op] = {name: _Op(registry.OPS[name], cases) for name, cases in CASES.items()}
"""Every op that is compared, and its cases."""


def validate(
    backends: Sequence[str] | None = None, dtypes: Sequence[torch.dtype] = DTYPES, device: str = "cpu"
) -> Iterator[Row]:
    """A row for every op, case, backend (None: all that can run here) and dtype."""
    for name, op in OPS.items():
        for case_name, case in op.cases.items():
            for dtype in dtypes:
                draws = [_draw(op, case, dtype, seed, device) for seed in range(DRAWS)]
                for backend in available_backends() if backends is None else backends:
                    yield _row(name, op, case_name, case, backend, dtype, draws)


def row(op: str, case: str, backend: str, dtype: torch.dtype, device: str = "cpu", draws: int = DRAWS) -> Row:
    """The row of one op and one of its cases by name, over fewer draws where time is short."""
    entry = OPS[op]
    drawn = [_draw(entry, entry.cases[case], dtype, seed, device) for seed in range(draws)]
    return _row(op, entry, case, entry.cases[case], backend, dtype, drawn)


def _draw(op: _Op, case: Any, dtype: torch.dtype, seed: int, device: str) -> tuple[Any, list[Tensor], list[Tensor]]:
    """Inputs in ``dtype``, the truth for them, and what plain PyTorch computes from them in ``dtype``."""
    x = converted(case.record(dtype, seed), lambda v: v.to(device))
    exact = converted(x, lambda v: v.double() if v.is_floating_point() else v)
    return x, _results(op.op.reference, exact, op.op), _results(op.op.reference, x, op.op)


def _row(name: str, op: _Op, case_name: str, case: Any, backend: str, dtype: torch.dtype, draws: list[Any]) -> Row:
    outputs = [output for output, _ in op.op.outputs]
    names = [*outputs, *(f"d_{x}" for x in op.op.gradients)]
    errors, allowed = torch.zeros(len(names)), torch.zeros(len(names))
    size = [max(_size(exact[i]) for _, exact, _ in draws) for i in range(len(names))]
    values = len(outputs)
    with use_backend(backend):
        found = [_results(op.op, x, op.op) for x, _, _ in draws]
    for i in range(len(names)):
        factor, scale = (FACTOR, size[i]) if i < values else (GRADIENT_FACTOR, max(size[values:]))
        plain = _worst(_size(draw[2][i] - draw[1][i]) for draw in draws)
        errors[i] = _worst(_size(result[i] - draw[1][i]) for result, draw in zip(found, draws, strict=True))
        allowed[i] = factor * plain + FLOOR[dtype] * scale
    # NaN counts as the worst; 0 of 0 is fine.
    excess = torch.where(errors == 0, 0.0, errors / allowed).nan_to_num(torch.inf, torch.inf)
    i = int(excess.argmax())
    return Row(
        name, case_name, backend, str(dtype).removeprefix("torch."), names[i], float(errors[i]), float(allowed[i])
    )


def _worst(values: Iterable[float]) -> float:
    """The largest value, NaN if there is one (Python's max would pass it over)."""
    return float(torch.tensor(list(values)).max())


def _size(x: Tensor) -> float:
    """The largest magnitude; NaN if there is one, 0 of nothing."""
    return float(x.abs().max()) if x.numel() else 0.0


def _results(function: Callable[..., Any], x: Any, op: Op[..., Any]) -> list[Tensor]:
    """Outputs, then the gradients of a sum with different weights for every output, of all float inputs."""
    x = x._replace(**{name: getattr(x, name).detach().requires_grad_() for name in op.gradients})
    outputs = function(*x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    if not op.gradients:
        return list(outputs)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o) for o in outputs]
    total = torch.stack([(o * w).double().sum() for o, w in zip(outputs, weights, strict=True)]).sum()
    leaves = [getattr(x, name) for name in op.gradients]
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [*(o.detach() for o in outputs), *gradients]
