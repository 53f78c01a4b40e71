"""Gated decoder step in plain PyTorch: adaptive gate, adaptive context and mixture layer (eq. 7, 9 and 10)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import from_fields


class GateInputs(NamedTuple):
    """What the gated step reads for L words of B captions, and its weights."""

    context: Annotated[Tensor, "B L H"]
    """Motion context c (eq. 8)."""
    hidden: Annotated[Tensor, "B L C"]
    """Bottom LSTM state h."""
    top: Annotated[Tensor, "B L C"]
    """Top LSTM state hbar."""
    word: Annotated[Tensor, "B L E"]
    """Embedding of the previous word, read by the gate."""
    mixed_word: Annotated[Tensor, "B L E"]
    """The same after dropout, read by the mixture."""
    gate_hidden_weight: Annotated[Tensor, "C"]
    """w_h (eq. 7)."""
    gate_word_weight: Annotated[Tensor, "E"]
    """w_e."""
    gate_bias: Annotated[Tensor, ""]
    """b."""
    context_weight: Annotated[Tensor, "D H"]
    """W_c (eq. 9)."""
    context_bias: Annotated[Tensor, "D"]
    language_weight: Annotated[Tensor, "D C"]
    """W_r."""
    language_bias: Annotated[Tensor, "D"]
    mixture_weight: Annotated[Tensor, "M E+D+C"]
    """W_m (eq. 10), columns in the order [word; adaptive context; hidden]."""
    mixture_bias: Annotated[Tensor, "M"]
    force_gate: float | None = None
    """Replaces beta everywhere (the paper's table 3), in [0, 1], or None."""


class GateOutput(NamedTuple):
    """What the gated step gives for every word."""

    features: Annotated[Tensor, "B L M"]
    """tanh(W_m [E(y_prev); adaptive context; h] + b_m), the hidden layer of eq. 10."""
    gate: Annotated[Tensor, "B L"]
    """beta, eq. 7; 1 listens to the motion, 0 to the language."""
    gate_logit: Annotated[Tensor, "B L"]
    """beta before the sigmoid, for a stable loss (eq. 12); of the model's own gate also when it is forced."""


@from_fields(GateInputs)
def gated_decoder_step(x: GateInputs) -> GateOutput:
    """Blend what the motion says with what the language expects (eq. 7, 9 and the hidden layer of eq. 10).

    Gives features (B, L, M), gate (B, L) and gate logit (B, L). Here the words may have any shape, not (B, L) alone.
    """
    gate_logit = x.hidden @ x.gate_hidden_weight + x.word @ x.gate_word_weight + x.gate_bias
    gate = torch.sigmoid(gate_logit) if x.force_gate is None else torch.full_like(gate_logit, x.force_gate)
    motion = torch.tanh(x.context @ x.context_weight.T + x.context_bias)
    language = torch.tanh(x.top @ x.language_weight.T + x.language_bias)
    adaptive = gate[..., None] * motion + (1 - gate[..., None]) * language
    features = torch.tanh(torch.cat([x.mixed_word, adaptive, x.hidden], dim=-1) @ x.mixture_weight.T + x.mixture_bias)
    return GateOutput(features, gate, gate_logit)
