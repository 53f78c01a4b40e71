"""Backend ``cuda``: C++/CUDA kernels. float64 runs on ``reference``."""

from __future__ import annotations

from m2t_fast.ops.backends import or_reference, reference
from m2t_fast.ops.cuda import attention
from m2t_fast.ops.cuda.launch import why_unavailable

spatio_temporal_attention = or_reference(attention.spatio_temporal_attention, reference.spatio_temporal_attention)
spatio_temporal_attention_backward = or_reference(
    attention.spatio_temporal_attention_backward, reference.spatio_temporal_attention_backward
)
spatio_temporal_context = or_reference(
    attention.spatio_temporal_context, lambda *arguments: reference.spatio_temporal_attention(*arguments)[0]
)

__all__ = [
    "spatio_temporal_attention",
    "spatio_temporal_attention_backward",
    "spatio_temporal_context",
    "why_unavailable",
]
