"""Gradients of the backend ``reference`` for the small ops: keys, spatial loss and LSTM cells, written out."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.reference.encoder import valid_frames
from m2t_fast.reference.loss import spatial_terms_count, spatial_terms_gradient


def attention_keys_backward(
    grad_temporal: Tensor,
    grad_spatial: Tensor,
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of parts, and of weight and bias of the temporal and of the spatial keys."""
    mask = valid_frames(lengths, parts.shape[1])[:, :, None, None]
    inputs = temporal_weight.shape[1]
    per_key = torch.where(mask, parts, 0).reshape(-1, inputs)
    d_parts = torch.zeros_like(per_key)
    d_weights = []
    for grad, weight in ((grad_temporal, temporal_weight), (grad_spatial, spatial_weight)):
        d_keys = torch.where(mask, grad, 0).flatten(0, 2)
        d_parts += d_keys @ weight
        d_weights += [d_keys.T @ per_key, d_keys.sum(0)]
    return d_parts.view_as(parts), *d_weights


def spatial_loss_backward(grad: Tensor, spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Gradient (B, L, T, P) of ``spatial``."""
    count = spatial_terms_count(target, lengths.clamp(max=spatial.shape[2]))
    return grad / count.clamp(min=1) * spatial_terms_gradient(spatial, target, lengths)


def lstm_cells_backward(
    grads: tuple[Tensor | None, ...],
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
    next_bottom_hidden: Tensor,
    next_bottom_cell: Tensor,
    next_top_cell: Tensor,
    gates: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of the thirteen inputs, from those of the four next states (None: not used) and the gates kept."""
    d_bottom_hidden, d_bottom_cell, d_top_hidden, d_top_cell = grads
    d_top_sums, d_top_cell = _lstm_cell_backward(d_top_hidden, d_top_cell, gates[1], top_cell, next_top_cell)
    through = d_top_sums @ top_input_weight
    through = through if d_bottom_hidden is None else through + d_bottom_hidden
    d_sums, d_bottom_cell = _lstm_cell_backward(through, d_bottom_cell, gates[0], bottom_cell, next_bottom_cell)
    bias, top_bias = d_sums.sum(0), d_top_sums.sum(0)
    return (
        d_sums @ bottom_input_weight,
        d_sums @ bottom_hidden_weight,
        d_bottom_cell,
        d_top_sums @ top_hidden_weight,
        d_top_cell,
        d_sums.T @ word,
        d_sums.T @ bottom_hidden,
        bias,
        bias.clone(),
        d_top_sums.T @ next_bottom_hidden,
        d_top_sums.T @ top_hidden,
        top_bias,
        top_bias.clone(),
    )


def _lstm_cell_backward(
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
