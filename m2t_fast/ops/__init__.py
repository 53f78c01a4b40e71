"""Differentiable registered ops, the same call on every backend."""

from m2t_fast.ops.attention import AttentionOutput, spatio_temporal_attention
from m2t_fast.ops.encoder import part_encoder
from m2t_fast.ops.gate import GateOutput, gated_decoder_step
from m2t_fast.ops.guided import guided_attention
from m2t_fast.ops.registry import available_backends, use_backend

__all__ = [
    "AttentionOutput",
    "GateOutput",
    "available_backends",
    "gated_decoder_step",
    "guided_attention",
    "part_encoder",
    "spatio_temporal_attention",
    "use_backend",
]
