"""Gated decoder step in plain PyTorch: adaptive gate, adaptive context and mixture layer (eq. 7, 9 and 10)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class GateOutput(NamedTuple):
    """What the gated step gives for every word."""

    features: Tensor
    """(..., M): tanh(W_m [E(y_prev); adaptive context; h] + b_m), the hidden layer of eq. 10."""
    gate: Tensor
    """(...): beta, eq. 7; 1 listens to the motion, 0 to the language."""
    gate_logit: Tensor
    """(...): beta before the sigmoid, for a stable loss (eq. 12); of the model's own gate also when it is forced."""


def gated_decoder_step(
    context: Tensor,
    hidden: Tensor,
    top: Tensor,
    word: Tensor,
    mixed_word: Tensor,
    gate_hidden_weight: Tensor,
    gate_word_weight: Tensor,
    gate_bias: Tensor,
    context_weight: Tensor,
    context_bias: Tensor,
    language_weight: Tensor,
    language_bias: Tensor,
    mixture_weight: Tensor,
    mixture_bias: Tensor,
    force_gate: float | None = None,
) -> GateOutput:
    """Blend what the motion says with what the language expects.

    Args:
        context: (..., H) motion context c (eq. 8).
        hidden: (..., C) bottom LSTM state h; top: (..., C) top LSTM state hbar.
        word: (..., E) embedding of the previous word, read by the gate; mixed_word: (..., E) the same after dropout,
            read by the mixture.
        gate_hidden_weight: (C,) w_h; gate_word_weight: (E,) w_e; gate_bias: () b.
        context_weight: (D, H) W_c; context_bias: (D,).
        language_weight: (D, C) W_r; language_bias: (D,).
        mixture_weight: (M, E + D + C) W_m; mixture_bias: (M,).
        force_gate: a number that replaces beta everywhere (the paper's table 3), or None.

    Returns:
        :class:`GateOutput`, differentiable in every float input.
    """
    gate_logit = hidden @ gate_hidden_weight + word @ gate_word_weight + gate_bias
    gate = torch.sigmoid(gate_logit) if force_gate is None else torch.full_like(gate_logit, force_gate)
    motion = torch.tanh(context @ context_weight.T + context_bias)
    language = torch.tanh(top @ language_weight.T + language_bias)
    adaptive = gate[..., None] * motion + (1 - gate[..., None]) * language
    features = torch.tanh(torch.cat([mixed_word, adaptive, hidden], dim=-1) @ mixture_weight.T + mixture_bias)
    return GateOutput(features, gate, gate_logit)
