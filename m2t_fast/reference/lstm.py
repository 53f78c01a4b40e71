"""One LSTM step in plain PyTorch (section 3.1, "Decoder"), in torch's gate order i, f, g, o."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import from_fields


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
    return activated(x @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh)


def activated(sums: Tensor) -> Tensor:
    """The gates i, f, g and o (B, 4C) from what they are made of (B, 4C)."""
    i, f, g, o = sums.chunk(4, dim=-1)
    return torch.cat([torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)], dim=-1)


def next_state(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next (hidden, cell) from the gates (B, 4C) and the cell before."""
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = f * cell + i * g
    return o * torch.tanh(cell), cell


class LstmInputs(NamedTuple):
    """A word's embedding, both LSTMs' states before it, and their weights; gates in torch's order i, f, g, o."""

    word: Annotated[Tensor, "B E"]
    bottom_hidden: Annotated[Tensor, "B C"]
    bottom_cell: Annotated[Tensor, "B C"]
    top_hidden: Annotated[Tensor, "B C"]
    top_cell: Annotated[Tensor, "B C"]
    bottom_input_weight: Annotated[Tensor, "4*C E"]
    bottom_hidden_weight: Annotated[Tensor, "4*C C"]
    bottom_input_bias: Annotated[Tensor, "4*C"]
    bottom_hidden_bias: Annotated[Tensor, "4*C"]
    top_input_weight: Annotated[Tensor, "4*C C"]
    top_hidden_weight: Annotated[Tensor, "4*C C"]
    top_input_bias: Annotated[Tensor, "4*C"]
    top_hidden_bias: Annotated[Tensor, "4*C"]


class LstmState(NamedTuple):
    """The states of the decoder's two LSTMs."""

    bottom_hidden: Annotated[Tensor, "B C"]
    bottom_cell: Annotated[Tensor, "B C"]
    top_hidden: Annotated[Tensor, "B C"]
    top_cell: Annotated[Tensor, "B C"]


@from_fields(LstmInputs)
def lstm_cells(x: LstmInputs) -> LstmState:
    """The states after a word: the bottom LSTM reads its embedding, the top one the bottom's hidden state.

    For words generated one by one; over known words torch's own LSTM runs layer by layer.
    """
    bottom = lstm_cell(
        x.word,
        (x.bottom_hidden, x.bottom_cell),
        x.bottom_input_weight,
        x.bottom_hidden_weight,
        x.bottom_input_bias,
        x.bottom_hidden_bias,
    )
    top = lstm_cell(
        bottom[0],
        (x.top_hidden, x.top_cell),
        x.top_input_weight,
        x.top_hidden_weight,
        x.top_input_bias,
        x.top_hidden_bias,
    )
    return LstmState(*bottom, *top)
