"""The op ``guided_decoder_step``: the gated step of a guided training step, with the adaptive loss of every word."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from m2t_fast import reference
from m2t_fast.ops import registry
from m2t_fast.ops.checks import wide
from m2t_fast.ops.define import define
from m2t_fast.reference.gate import GateOutput
from m2t_fast.reference.gate_with_loss import GuidedGateInputs, GuidedGateOutput
from m2t_fast.reference.loss import adaptive_terms, adaptive_terms_gradient

GATE = "gated_decoder_step"


def _step_then_loss(backend: str, x: Any) -> GuidedGateOutput:
    """For backends without a kernel for both: their gated step, then the loss of its output."""
    out = registry.call(GATE, backend, GuidedGateInputs.of(x))
    return GuidedGateOutput(out.features, out.gate, out.gate_logit, adaptive_terms(wide(out.gate_logit), x.gate_target))


def _backward(backend: str, grads: GuidedGateOutput, x: Any, saved: Any) -> dict[str, Tensor]:
    d_logit = grads.gate_logit
    if grads.loss is not None:
        slope = (adaptive_terms_gradient(wide(saved.gate_logit), x.gate_target) * grads.loss).to(saved.gate_logit.dtype)
        d_logit = slope if d_logit is None else d_logit + slope
    given = GateOutput(grads.features, grads.gate, d_logit)
    return registry.call_backward(GATE, backend, given, GuidedGateInputs.of(x), saved)


guided_decoder_step = define(
    reference.guided_decoder_step,
    file="gate_with_loss",
    saves=["features", "gate", "gate_logit"],
    unread=["gate_bias", "mixture_bias"],
    otherwise=_step_then_loss,
    otherwise_backward=_backward,
    made_of=[GATE],
)
