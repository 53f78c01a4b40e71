"""The op ``gated_decoder_step``: adaptive gate, adaptive context and the mixture layer, fused."""

from __future__ import annotations

from m2t_fast import reference
from m2t_fast.ops.define import define
from m2t_fast.reference.gate import GateInputs, GateOutput

__all__ = ["GateInputs", "GateOutput", "check_force_gate", "gated_decoder_step"]


def check_force_gate(force_gate: float | None) -> None:
    """Raises ValueError unless ``force_gate`` is None or a number in [0, 1]."""
    if force_gate is not None and not 0.0 <= force_gate <= 1.0:
        raise ValueError(f"force_gate: got {force_gate!r}, expected a number in [0, 1] or None")


gated_decoder_step = define(
    reference.gated_decoder_step,
    file="gate",
    saves=["features", "gate"],
    unread=["gate_bias", "mixture_bias"],
    trained=["features", "gate_logit"],
    check=lambda x: check_force_gate(x.force_gate),
)
