"""The ops in plain PyTorch, line by line with the paper's equations, in any float dtype; no kernel is imported here."""

from m2t_fast.reference.attention import AttentionOutput, attention_keys, spatio_temporal_attention
from m2t_fast.reference.encoder import part_encoder
from m2t_fast.reference.gate import GateOutput, gated_decoder_step
from m2t_fast.reference.guided import guided_attention
from m2t_fast.reference.loss import spatial_loss
from m2t_fast.reference.lstm import LstmState, lstm_cells

__all__ = [
    "AttentionOutput",
    "GateOutput",
    "LstmState",
    "attention_keys",
    "gated_decoder_step",
    "guided_attention",
    "lstm_cells",
    "part_encoder",
    "spatial_loss",
    "spatio_temporal_attention",
]
