"""One LSTM step in plain PyTorch (section 3.1, "Decoder"), in torch's gate order i, f, g, o."""

from __future__ import annotations

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
    i, f, g, o = (x @ weight_ih.T + bias_ih + hidden @ weight_hh.T + bias_hh).chunk(4, dim=-1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell
