"""The gated decoder step with its adaptive loss, in plain PyTorch (eq. 7, 9, 10 and 12)."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import Target, Wide, extended, from_fields
from m2t_fast.reference.gate import GateInputs, gated_decoder_step
from m2t_fast.reference.loss import adaptive_terms

GuidedGateInputs = extended(
    "GuidedGateInputs",
    GateInputs,
    without=("force_gate",),
    gate_target=Annotated[Tensor, Target("B L")],  # 1 motion word, 0 other word, -1 unsupervised
)


class GuidedGateOutput(NamedTuple):
    """What a guided training step reads of the gated step."""

    features: Annotated[Tensor, "B L M"]
    """The hidden layer of eq. 10."""
    gate: Annotated[Tensor, "B L"]
    """beta, eq. 7."""
    gate_logit: Annotated[Tensor, "B L"]
    """beta before the sigmoid."""
    loss: Annotated[Tensor, Wide("B L")]
    """Every word's binary cross entropy, 0 where it is not supervised."""


@from_fields(GuidedGateInputs)
def guided_decoder_step(x: Any) -> GuidedGateOutput:
    """The gated step, and the adaptive loss of every word (eq. 7, 9, 10 and 12).

    Gives features (B, L, M), gate and gate logit (B, L), and (B, L) in float32 (of float64 inputs in float64).
    """
    out = gated_decoder_step(*GuidedGateInputs.of(x))
    wide = out.gate_logit.to(torch.promote_types(out.gate_logit.dtype, torch.float32))
    return GuidedGateOutput(out.features, out.gate, out.gate_logit, adaptive_terms(wide, x.gate_target))
