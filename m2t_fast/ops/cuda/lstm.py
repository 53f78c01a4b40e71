"""Launches ``lstm_cells`` and its gradient: few rows in launches of their own, many around torch's products."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast.ops.cuda.few_rows import FEW_ROWS, Rows, outer_products, rows_products
from m2t_fast.ops.cuda.launch import ready, run
from m2t_fast.records import converted
from m2t_fast.reference.lstm import LstmInputs, LstmState

OP = "lstm_cells"


class _Cell(NamedTuple):
    """What one LSTM reads, as csrc/cuda/lstm.h names it."""

    x: Tensor
    hidden: Tensor
    cell: Tensor
    input_weight: Tensor
    hidden_weight: Tensor
    input_bias: Tensor
    hidden_bias: Tensor


def lstm_cells_keeps(x: LstmInputs) -> bool:
    """The gates."""
    return True


def lstm_cells(x: LstmInputs, keep: bool = False) -> Any:
    """The four next states of ``ops.lstm_cells``; with ``keep`` and them a tuple of the gates (2, B, 4C).

    Up to ``FEW_ROWS`` rows take two launches; the second one, the top LSTM's, multiplies its own state while the first
    runs.
    """
    dtype, (batch, units) = x.word.dtype, x.bottom_hidden.shape
    x = converted(x, ready)
    gates = x.word.new_empty((2, batch, 4 * units)) if keep else None
    bottom_gates, top_gates = (None, None) if gates is None else gates
    after = LstmState(*(x.word.new_empty(batch, units) for _ in LstmState._fields))
    bottom, top = _cells(x, after.bottom_hidden)
    made = [
        dict(**cell._asdict(), next_hidden=hidden, next_cell=state, gates=own, inputs=cell.x.shape[1])
        for cell, hidden, state, own in (
            (bottom, after.bottom_hidden, after.bottom_cell, bottom_gates),
            (top, after.top_hidden, after.top_cell, top_gates),
        )
    ]
    sizes = _sizes(x)
    if batch <= FEW_ROWS:
        run(OP, "lstm_cells", x.word, sizes, rows=batch, units=units, bottom=made[0], top=made[1])
    else:
        for cell, task in zip((bottom, top), made, strict=True):
            products = dict(input=cell.x @ cell.input_weight.T, hidden=cell.hidden @ cell.hidden_weight.T)
            run(OP, "lstm_forward", x.word, sizes, rows=batch, units=units, products=products, cell=task)
    state = LstmState(*(value.to(dtype) for value in after))
    return state if gates is None else (state, (gates.to(dtype),))


def lstm_cells_backward(grads: LstmState, x: LstmInputs, after: Any) -> dict[str, Tensor]:
    """Gradients of the thirteen inputs, from those of the four next states (None: not used) and the gates kept."""
    dtype, (batch, units) = x.word.dtype, x.bottom_hidden.shape
    x, after = converted(x, ready), converted(after, ready)
    grads = LstmState(*(v if v is None else ready(v) for v in grads))
    bottom_gates, top_gates = after.gates
    bottom, top = _cells(x, after.bottom_hidden)
    sizes, few = _sizes(x), batch <= FEW_ROWS

    def through_cell(d_hidden: Tensor | None, d_cell: Tensor | None, *kept: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the sums under the gates and of the cell before, from gates, cell and next cell."""
        gates, cell, next_cell = kept
        d_sums, d_before = torch.empty_like(gates), torch.empty_like(cell)
        task = dict(
            d_next_hidden=d_hidden,
            d_next_cell=d_cell,
            gates=gates,
            cell=cell,
            next_cell=next_cell,
            d_sums=d_sums,
            d_cell=d_before,
        )
        run(OP, "lstm_backward", x.word, sizes, rows=batch, units=units, task=task)
        return d_sums, d_before

    def through_products(d_sums: Tensor, cell: _Cell, add: Tensor | None) -> list[Tensor]:
        """Gradients of the input, ``add`` included, and of the hidden state before."""
        if few:
            jobs = [(Rows(d_sums), cell.input_weight, add), (Rows(d_sums), cell.hidden_weight, None)]
            return rows_products(OP, sizes, x.word, jobs)
        d_input = d_sums @ cell.input_weight
        return [d_input if add is None else d_input + add, d_sums @ cell.hidden_weight]

    d_top_sums, d_top_cell = through_cell(grads.top_hidden, grads.top_cell, top_gates, x.top_cell, after.top_cell)
    through, d_top_hidden = through_products(d_top_sums, top, grads.bottom_hidden)
    d_sums, d_bottom_cell = through_cell(through, grads.bottom_cell, bottom_gates, x.bottom_cell, after.bottom_cell)
    d_word, d_bottom_hidden = through_products(d_sums, bottom, None)
    found = dict(
        word=d_word,
        bottom_hidden=d_bottom_hidden,
        bottom_cell=d_bottom_cell,
        top_hidden=d_top_hidden,
        top_cell=d_top_cell,
    )
    met = {
        "bottom_input": (d_sums, bottom.x),
        "bottom_hidden": (d_sums, bottom.hidden),
        "top_input": (d_top_sums, top.x),
        "top_hidden": (d_top_sums, top.hidden),
    }
    if few:
        layers = outer_products(OP, sizes, x.word, [(Rows(d), 4 * units, rows) for d, rows in met.values()])
    else:
        layers = [(d.T @ rows, d.sum(0)) for d, rows in met.values()]
    for name, (weight, bias) in zip(met, layers, strict=True):
        found[f"{name}_weight"], found[f"{name}_bias"] = weight, bias
    return {name: value.to(dtype) for name, value in found.items()}


def _cells(x: LstmInputs, bottom_hidden: Tensor) -> tuple[_Cell, _Cell]:
    """Both LSTMs; the top one reads the bottom's next hidden state."""
    bottom_weights = x.bottom_input_weight, x.bottom_hidden_weight, x.bottom_input_bias, x.bottom_hidden_bias
    top_weights = x.top_input_weight, x.top_hidden_weight, x.top_input_bias, x.top_hidden_bias
    return (
        _Cell(x.word, x.bottom_hidden, x.bottom_cell, *bottom_weights),
        _Cell(bottom_hidden, x.top_hidden, x.top_cell, *top_weights),
    )


def _sizes(x: LstmInputs) -> dict[str, int]:
    batch, units = x.bottom_hidden.shape
    return {"B": batch, "E": x.word.shape[1], "C": units}
