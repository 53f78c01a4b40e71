"""The op ``lstm_cells``: both LSTMs of the decoder by one word."""

from __future__ import annotations

from m2t_fast import reference
from m2t_fast.ops.define import define
from m2t_fast.reference.lstm import LstmInputs, LstmState

__all__ = ["LstmInputs", "LstmState", "lstm_cells"]

lstm_cells = define(
    reference.lstm_cells,
    file="lstm",
    keeps={"gates": "2 B 4*C"},
    saves=["bottom_hidden", "bottom_cell", "top_cell"],
    unread=["bottom_input_bias", "bottom_hidden_bias", "top_input_bias", "top_hidden_bias"],
)
