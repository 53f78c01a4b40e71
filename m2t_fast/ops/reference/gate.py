"""``gated_decoder_step`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.ops.reference import in_float32
from m2t_fast.reference.gate import GateInputs, GateOutput


def gated_decoder_step(x: GateInputs) -> GateOutput:
    """``reference.gated_decoder_step``."""
    return reference.gated_decoder_step(*x)


@in_float32
def gated_decoder_step_backward(grads: GateOutput, x: GateInputs, saved: Any) -> dict[str, Tensor]:
    """Gradients of the fourteen float inputs, from those of the outputs (None: not used)."""
    motion = torch.tanh(x.context @ x.context_weight.T + x.context_bias)
    language = torch.tanh(x.top @ x.language_weight.T + x.language_bias)
    gate, features = saved.gate, saved.features
    beta = gate[..., None]
    mixture_input = torch.cat([x.mixed_word, beta * motion + (1 - beta) * language, x.hidden], dim=-1)

    # Eq. 10's hidden layer.
    d_mixture = torch.zeros_like(features) if grads.features is None else grads.features * (1 - features.square())
    sizes = (x.mixed_word.shape[-1], motion.shape[-1], x.hidden.shape[-1])
    d_mixed_word, d_adaptive, d_hidden = (d_mixture @ x.mixture_weight).split(sizes, dim=-1)

    # Eq. 9.
    d_motion = d_adaptive * beta * (1 - motion.square())
    d_language = d_adaptive * (1 - beta) * (1 - language.square())

    # Eq. 7. A forced gate is a constant: nothing flows through it.
    d_logit = torch.zeros_like(gate) if grads.gate_logit is None else grads.gate_logit
    if x.force_gate is None:
        d_beta = (d_adaptive * (motion - language)).sum(-1)
        d_beta = d_beta if grads.gate is None else d_beta + grads.gate
        d_logit = d_logit + d_beta * gate * (1 - gate)
    rows = d_logit.flatten()
    return dict(
        context=d_motion @ x.context_weight,
        hidden=d_hidden + d_logit[..., None] * x.gate_hidden_weight,
        top=d_language @ x.language_weight,
        word=d_logit[..., None] * x.gate_word_weight,
        mixed_word=d_mixed_word.contiguous(),
        gate_hidden_weight=rows @ x.hidden.flatten(0, -2),
        gate_word_weight=rows @ x.word.flatten(0, -2),
        gate_bias=rows.sum(),
        context_weight=d_motion.flatten(0, -2).T @ x.context.flatten(0, -2),
        context_bias=d_motion.flatten(0, -2).sum(0),
        language_weight=d_language.flatten(0, -2).T @ x.top.flatten(0, -2),
        language_bias=d_language.flatten(0, -2).sum(0),
        mixture_weight=d_mixture.flatten(0, -2).T @ mixture_input.flatten(0, -2),
        mixture_bias=d_mixture.flatten(0, -2).sum(0),
    )
