"""Backend ``triton``: GPU kernels written in Python (kernels/). float64 and the part encoder run on ``reference``."""

from __future__ import annotations

from m2t_fast.ops.backends import or_reference, reference
from m2t_fast.ops.triton.launch import why_unavailable

__all__ = ["why_unavailable"]


if why_unavailable() is None:  # elsewhere the kernels cannot even be imported
    from m2t_fast.ops.triton import attention, gate

    spatio_temporal_attention = or_reference(attention.spatio_temporal_attention, reference.spatio_temporal_attention)
    spatio_temporal_attention_backward = or_reference(
        attention.spatio_temporal_attention_backward, reference.spatio_temporal_attention_backward
    )
    spatio_temporal_context = or_reference(
        attention.spatio_temporal_context, lambda *arguments: reference.spatio_temporal_attention(*arguments)[0]
    )
    gated_decoder_step = or_reference(gate.gated_decoder_step, reference.gated_decoder_step)
    gated_decoder_step_backward = or_reference(gate.gated_decoder_step_backward, reference.gated_decoder_step_backward)
    guided_attention, guided_attention_backward = attention.guided_attention, attention.guided_attention_backward
    __all__ += [
        "gated_decoder_step",
        "gated_decoder_step_backward",
        "guided_attention",
        "guided_attention_backward",
        "spatio_temporal_attention",
        "spatio_temporal_attention_backward",
        "spatio_temporal_context",
    ]
