"""The ops in plain PyTorch, line by line with the paper's equations, in any float dtype; no kernel is imported here."""

from m2t_fast.reference.attention import AttentionOutput, spatio_temporal_attention
from m2t_fast.reference.encoder import part_encoder
from m2t_fast.reference.gate import GateOutput, gated_decoder_step
from m2t_fast.reference.guided import guided_attention

__all__ = [
    "AttentionOutput",
    "GateOutput",
    "gated_decoder_step",
    "guided_attention",
    "part_encoder",
    "spatio_temporal_attention",
]
