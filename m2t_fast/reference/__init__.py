"""The ops in plain PyTorch, line by line with the paper's equations, in any float dtype; no kernel is imported here."""

from m2t_fast.reference.additive_attention import additive_attention
from m2t_fast.reference.attention import (
    AttentionOutput,
    attention_keys,
    spatio_temporal_attention,
    spatio_temporal_context,
)
from m2t_fast.reference.attention_with_loss import guided_attention
from m2t_fast.reference.draws import DrawsOutput, random_draws
from m2t_fast.reference.encoder import part_encoder
from m2t_fast.reference.gate import GateOutput, gated_decoder_step
from m2t_fast.reference.gate_with_loss import guided_decoder_step
from m2t_fast.reference.gather import gather_motions
from m2t_fast.reference.loss import spatial_loss
from m2t_fast.reference.lstm import LstmState, lstm_cells

__all__ = [
    "additive_attention",
    "AttentionOutput",
    "DrawsOutput",
    "GateOutput",
    "LstmState",
    "attention_keys",
    "gated_decoder_step",
    "gather_motions",
    "guided_attention",
    "guided_decoder_step",
    "lstm_cells",
    "part_encoder",
    "random_draws",
    "spatial_loss",
    "spatio_temporal_attention",
    "spatio_temporal_context",
]
