"""Every op, backend and dtype that can run here against the float64 reference, by the numerics policy.

An op in dtype X passes when its error against the truth is at most twice (gradients: three times) that of the plain
PyTorch reference in dtype X on the same inputs, plus a floor relative to the output's scale. All gradients of an op
share one scale: some are 0 by cancellation of terms as large as the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast import ops, reference
from m2t_fast.ops.cases import ATTENTION_CASES, ENCODER_CASES, GATE_CASES, KEYS_CASES, LOSS_CASES, LSTM_CASES
from m2t_fast.ops.registry import available_backends, use_backend

FLOOR = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-3}
"""Absolute tolerance as a share of the output's largest value."""
FACTOR, GRADIENT_FACTOR = 2.0, 3.0
DRAWS = 6
"""Random inputs a case; the largest error over them counts on both sides: in one draw either may be small by luck."""

_ATTENTION_INPUTS = (
    *("parts", "temporal_keys", "spatial_keys", "temporal_query", "spatial_query"),
    *("temporal_weight", "spatial_weight", "spatial_bias"),
)
_GATE_INPUTS = (
    *("context", "hidden", "top", "word", "mixed_word", "gate_hidden_weight", "gate_word_weight", "gate_bias"),
    *("context_weight", "context_bias", "language_weight", "language_bias", "mixture_weight", "mixture_bias"),
)
_LSTM_INPUTS = (
    *("word", "bottom_hidden", "bottom_cell", "top_hidden", "top_cell"),
    *(
        f"{layer}_{name}"
        for layer in ("bottom", "top")
        for name in ("input_weight", "hidden_weight", "input_bias", "hidden_bias")
    ),
)


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
    cases: dict[str, Any]
    call: Callable[[Any, Any], Callable[..., Any]]
    outputs: Sequence[str]
    inputs: Sequence[str]


OPS: dict[str, _Op] = {
    "spatio_temporal_attention": _Op(
        ATTENTION_CASES,
        lambda module, case: lambda *x: module.spatio_temporal_attention(*x, scale=case.scale),
        reference.AttentionOutput._fields,
        _ATTENTION_INPUTS,
    ),
    "gated_decoder_step": _Op(
        GATE_CASES,
        lambda module, case: module.gated_decoder_step,
        reference.GateOutput._fields,
        _GATE_INPUTS,
    ),
    "part_encoder": _Op(
        ENCODER_CASES,
        lambda module, case: lambda *x: module.part_encoder(*x, parts=case.parts),
        ("parts",),
        ["motion", "weight1", "bias1", "weight2", "bias2"],
    ),
    "attention_keys": _Op(
        KEYS_CASES,
        lambda module, case: module.attention_keys,
        ("temporal_keys", "spatial_keys"),
        ["parts", "temporal_weight", "temporal_bias", "spatial_weight", "spatial_bias"],
    ),
    "spatial_loss": _Op(
        LOSS_CASES,
        lambda module, case: module.spatial_loss,
        ("loss",),
        ["spatial"],
    ),
    "lstm_cells": _Op(
        LSTM_CASES,
        lambda module, case: module.lstm_cells,
        reference.LstmState._fields,
        _LSTM_INPUTS,
    ),
}


def validate(
    backends: Sequence[str] | None = None, dtypes: Sequence[torch.dtype] = tuple(FLOOR), device: str = "cpu"
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


def _draw(
    op: _Op, case: Any, dtype: torch.dtype, seed: int, device: str
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Inputs in ``dtype``, what is true for them, and what plain PyTorch makes of them in ``dtype``."""
    inputs = [x.to(device) for x in case.inputs(dtype, seed)]
    plain = op.call(reference, case)
    exact = [x.double() if x.dtype.is_floating_point else x for x in inputs]
    return inputs, _results(plain, exact), _results(plain, inputs)


def _row(name: str, op: _Op, case_name: str, case: Any, backend: str, dtype: torch.dtype, draws: list[Any]) -> Row:
    names = [*op.outputs, *(f"d_{x}" for x in op.inputs)]
    errors, allowed = torch.zeros(len(names)), torch.zeros(len(names))
    size = [max(_size(exact[i]) for _, exact, _ in draws) for i in range(len(names))]
    values = len(op.outputs)
    with use_backend(backend):
        found = [_results(op.call(ops, case), inputs) for inputs, _, _ in draws]
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


def _results(function: Callable[..., Any], inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, then the gradients of a sum that weighs every output in its own way, of all float inputs."""
    inputs = [x.detach().requires_grad_() if x.dtype.is_floating_point else x for x in inputs]
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o) for o in outputs]
    total = torch.stack([(o * w).double().sum() for o, w in zip(outputs, weights, strict=True)]).sum()
    leaves = [x for x in inputs if x.requires_grad]
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [*(o.detach() for o in outputs), *gradients]
