"""``lstm_cells`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.reference import in_float32
from m2t_fast.reference.lstm import LstmInputs, LstmState, lstm_gates, next_state


def lstm_cells_keeps(x: LstmInputs) -> bool:
    """The gates."""
    return True


def lstm_cells(x: LstmInputs, keep: bool = False) -> Any:
    """The next states of ``reference.lstm_cells``; with ``keep`` and them a tuple of the gates (2, B, 4C)."""
    bottom_weights = x.bottom_input_weight, x.bottom_hidden_weight, x.bottom_input_bias, x.bottom_hidden_bias
    bottom_gates = lstm_gates(x.word, x.bottom_hidden, *bottom_weights)
    bottom_hidden, bottom_cell = next_state(bottom_gates, x.bottom_cell)
    top_weights = x.top_input_weight, x.top_hidden_weight, x.top_input_bias, x.top_hidden_bias
    top_gates = lstm_gates(bottom_hidden, x.top_hidden, *top_weights)
    state = LstmState(bottom_hidden, bottom_cell, *next_state(top_gates, x.top_cell))
    return (state, (torch.stack([bottom_gates, top_gates]),)) if keep else state


@in_float32
def lstm_cells_backward(grads: LstmState, x: LstmInputs, after: Any) -> dict[str, Tensor]:
    """Gradients of the thirteen inputs, from those of the four next states (None: not used) and the gates kept."""
    bottom_gates, top_gates = after.gates
    d_top_sums, d_top_cell = _cell_backward(grads.top_hidden, grads.top_cell, top_gates, x.top_cell, after.top_cell)
    through = d_top_sums @ x.top_input_weight
    through = through if grads.bottom_hidden is None else through + grads.bottom_hidden
    d_sums, d_bottom_cell = _cell_backward(through, grads.bottom_cell, bottom_gates, x.bottom_cell, after.bottom_cell)
    bias, top_bias = d_sums.sum(0), d_top_sums.sum(0)
    return dict(
        word=d_sums @ x.bottom_input_weight,
        bottom_hidden=d_sums @ x.bottom_hidden_weight,
        bottom_cell=d_bottom_cell,
        top_hidden=d_top_sums @ x.top_hidden_weight,
        top_cell=d_top_cell,
        bottom_input_weight=d_sums.T @ x.word,
        bottom_hidden_weight=d_sums.T @ x.bottom_hidden,
        bottom_input_bias=bias,
        bottom_hidden_bias=bias.clone(),
        top_input_weight=d_top_sums.T @ after.bottom_hidden,
        top_hidden_weight=d_top_sums.T @ x.top_hidden,
        top_input_bias=top_bias,
        top_hidden_bias=top_bias.clone(),
    )


def _cell_backward(
    d_hidden: Tensor | None, d_cell: Tensor | None, gates: Tensor, cell: Tensor, next_cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the sums under the gates (B, 4C) and of the cell before, from those of the next state."""
    i, f, g, o = gates.chunk(4, dim=-1)
    tanh = torch.tanh(next_cell)
    d_hidden = torch.zeros_like(cell) if d_hidden is None else d_hidden
    through = d_hidden * o * (1 - tanh.square())
    d_cell = through if d_cell is None else through + d_cell
    d_sums = (
        d_cell * g * i * (1 - i),
        d_cell * cell * f * (1 - f),
        d_cell * i * (1 - g.square()),
        d_hidden * tanh * o * (1 - o),
    )
    return torch.cat(d_sums, dim=-1), d_cell * f
