"""An op, with or without its gradient, as a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from m2t_fast import ops, reference
from m2t_fast.benchmarking.case import COMPILE, LOOP, PLAIN, Case, Run
from m2t_fast.benchmarking.results import Results
from m2t_fast.benchmarking.sizes import OP_INPUTS, OpInputs, Size, generator
from m2t_fast.ops.registry import OPS, use_backend
from m2t_fast.records import Kind

_LARGEST_CHUNK = 1 << 25
"""Elements of the largest tensor of a truth in float64: 256 MiB."""


class OpCase(Case):
    """One call of an op, with or without its gradient. The gradient comes through the outputs that training reads."""

    def __init__(self, name: str, size: Size, scoring: str, device: torch.device, backward: bool = True):
        super().__init__(name, size, scoring, device)
        self.backward = backward
        self.op = OPS[name]
        inputs: OpInputs = OP_INPUTS[name](size, scoring)
        self.inputs = inputs._replace(tensors=[x.to(device) for x in inputs.tensors])
        if "lengths" in inputs.names:
            self.frames = int(inputs.tensors[inputs.names.index("lengths")].sum())
        self.words = size.batch * size.words
        if name == "spatio_temporal_attention":
            _, frames, slots, dim = inputs.tensors[1].shape
            self.elements = size.batch * size.words * frames * slots * dim
            self.tanh = 2 * int(inputs.tensors[-1].sum()) * size.words * slots * dim

    @property
    def title(self) -> str:
        scoring = f", {self.scoring} scoring" if self.scored else ""
        return f"{self.name}{scoring}, forward{' + backward' if self.backward else ''}"

    def inapplicable(self, way: str) -> str | None:
        return "it does not go word by word" if way == LOOP and not self._of_words else None

    def prepare(self, way: str) -> Run:
        if way == LOOP:
            return self._run(self._word_by_word)
        if way == PLAIN:
            return self._run(self._plain)
        if way == COMPILE:
            return self._run(torch.compile(self._plain, dynamic=False))

        def dispatched(*tensors: Tensor) -> Any:
            with use_backend(way):
                return getattr(ops, self.name)(*tensors, **self._more)

        return self._run(dispatched)

    def truth(self) -> Results:
        """Plain PyTorch in float64, a few motions at a time."""
        step = max(1, _LARGEST_CHUNK * self.size.batch // max(1, self.elements))
        total: Results | None = None
        for first in range(0, self.size.batch, step):
            rows = slice(first, first + step)
            part = self._compute(self._plain, self._leaves(rows), rows)
            if total is None:
                total = part
                continue
            for name, value in part.outputs.items():
                total.outputs[name] = torch.cat([total.outputs[name], value])
            for name, value in part.gradients.items():
                shared = self.inputs.names.index(name.removeprefix("d_")) >= self.inputs.batched
                before = total.gradients[name]
                total.gradients[name] = before + value if shared else torch.cat([before, value])
        assert total is not None
        return total

    @property
    def _of_words(self) -> set[str]:
        """The inputs that have a row per word, where every output has one; else none."""
        if not all(_of_word(kind) for _, kind in self.op.outputs):
            return set()
        return {field.name for field in self.op.fields if field.kind is not None and _of_word(field.kind)}

    @property
    def _more(self) -> dict[str, Any]:
        return {"parts": self.size.config.parts} if self.name == "part_encoder" else {}

    def _plain(self, *tensors: Tensor) -> Any:
        return getattr(reference, self.name)(*tensors, **self._more)

    def _word_by_word(self, *tensors: Tensor) -> Any:
        of_words = self._of_words
        columns = []
        for j in range(self.size.words):
            word = [
                x[:, j : j + 1] if name in of_words else x for name, x in zip(self.inputs.names, tensors, strict=True)
            ]
            columns.append(self._plain(*word))
        return type(columns[0])(*(torch.cat(column, dim=1) for column in zip(*columns, strict=True)))

    def _leaves(self, rows: slice | None = None) -> list[Tensor]:
        """The inputs as leaves of a gradient; with ``rows`` in float64, and of these motions alone."""
        leaves = []
        for i, (name, x) in enumerate(zip(self.inputs.names, self.inputs.tensors, strict=True)):
            if rows is not None:
                x = x[rows] if i < self.inputs.batched or name == "lengths" else x
                x = x.double() if x.is_floating_point() else x
            # The motion is data: training asks for no gradient of it.
            leaves.append(x.detach().requires_grad_(self.backward and x.is_floating_point() and name != "motion"))
        return leaves

    def _run(self, function: Callable[..., Any]) -> Run:
        leaves = self._leaves()
        return lambda: self._compute(function, leaves)

    def _compute(self, function: Callable[..., Any], leaves: list[Tensor], rows: slice | None = None) -> Results:
        with torch.set_grad_enabled(self.backward):
            found = function(*leaves)
        trained_names = self.op.trained
        if hasattr(found, "_asdict"):
            outputs: dict[str, Tensor] = found._asdict()
        else:
            outputs = dict(zip(trained_names, found if isinstance(found, tuple) else (found,), strict=True))
        gradients: dict[str, Tensor] = {}
        if self.backward:
            wanted = {name: x for name, x in zip(self.inputs.names, leaves, strict=True) if x.requires_grad}
            trained = [outputs[name] for name in trained_names]
            weights = self._output_gradients([(x.shape, x.dtype) for x in trained], rows)
            grads = torch.autograd.grad(trained, list(wanted.values()), weights, materialize_grads=True)
            gradients = {f"d_{name}": grad for name, grad in zip(wanted, grads, strict=True)}
        return Results({name: x.detach() for name, x in outputs.items()}, gradients)

    def _output_gradients(self, shapes: list[tuple[torch.Size, torch.dtype]], rows: slice | None) -> list[Tensor]:
        """Random gradients of the trained outputs, drawn once."""
        if not hasattr(self, "_drawn"):
            g = generator(1)
            full = [(self.size.batch, *shape[1:]) if shape else () for shape, _ in shapes]
            self._drawn = [torch.randn(shape, generator=g).to(self.device) for shape in full]
        whole = slice(None) if rows is None else rows
        return [(x[whole] if x.dim() else x).to(dtype) for x, (_, dtype) in zip(self._drawn, shapes, strict=True)]


def _of_word(kind: Kind) -> bool:
    return kind.shape.split()[:2] == ["B", "L"]
