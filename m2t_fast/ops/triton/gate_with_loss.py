"""Launches ``guided_decoder_step`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.triton.gate import launch_backward, launch_forward
from m2t_fast.reference.gate import GateOutput
from m2t_fast.reference.gate_with_loss import GuidedGateInputs, GuidedGateOutput


def guided_decoder_step(x: Any) -> GuidedGateOutput:
    """Features, gate, gate logit and adaptive loss of ``ops.guided_decoder_step``."""
    loss = x.context.new_empty(x.context.shape[:2], dtype=torch.float32)
    return GuidedGateOutput(*launch_forward(GuidedGateInputs.of(x), x.gate_target, loss), loss)


def guided_decoder_step_backward(grads: GuidedGateOutput, x: Any, saved: Any) -> dict[str, Tensor]:
    """Gradients of the fourteen float inputs, from those of the four outputs (None: not used)."""
    given = GateOutput(grads.features, grads.gate, grads.gate_logit)
    return launch_backward(given, GuidedGateInputs.of(x), saved, x.gate_target, grads.loss)
