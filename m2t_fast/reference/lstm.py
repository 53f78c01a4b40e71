"""One LSTM step in plain PyTorch (section 3.1, "Decoder"), in torch's gate order i, f, g, o."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def lstm_cell(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> tuple[Tensor, Tensor]:
    """The next (hidden, cell), each (B, C), from x (B, I) and the state before.

    Args:
        weight_ih: (4C, I); weight_hh: (4C, C); bias_ih, bias_hh: (4C,).
    """
    hidden, cell = state
    return next_state(lstm_gates(x, hidden, weight_ih, weight_hh, bias_ih, bias_hh), cell)


def lstm_gates(
    x: Tensor, hidden: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> Tensor:
    """The gates i, f, g and o (B, 4C) of one step."""
    i, f, g, o = (x @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh).chunk(4, dim=-1)
    return torch.cat([torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)], dim=-1)


def next_state(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next (hidden, cell) from the gates (B, 4C) and the cell before."""
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = f * cell + i * g
    return o * torch.tanh(cell), cell


class LstmState(NamedTuple):
    """The states of the decoder's two LSTMs, each (B, C)."""

    bottom_hidden: Tensor
    bottom_cell: Tensor
    top_hidden: Tensor
    top_cell: Tensor


def lstm_cells(
    word: Tensor,
    bottom_hidden: Tensor,
    bottom_cell: Tensor,
    top_hidden: Tensor,
    top_cell: Tensor,
    bottom_input_weight: Tensor,
    bottom_hidden_weight: Tensor,
    bottom_input_bias: Tensor,
    bottom_hidden_bias: Tensor,
    top_input_weight: Tensor,
    top_hidden_weight: Tensor,
    top_input_bias: Tensor,
    top_hidden_bias: Tensor,
) -> LstmState:
    """The next states after a word: the bottom LSTM reads its embedding, the top one the bottom's hidden state.

    Args:
        word: (B, E) embedding. bottom_hidden, bottom_cell, top_hidden, top_cell: (B, C) states before.
        bottom_input_weight: (4C, E); top_input_weight: (4C, C); the two hidden weights: (4C, C); the biases: (4C,).
    """
    bottom = lstm_cell(
        word,
        (bottom_hidden, bottom_cell),
        bottom_input_weight,
        bottom_hidden_weight,
        bottom_input_bias,
        bottom_hidden_bias,
    )
    top = lstm_cell(
        bottom[0], (top_hidden, top_cell), top_input_weight, top_hidden_weight, top_input_bias, top_hidden_bias
    )
    return LstmState(*bottom, *top)
