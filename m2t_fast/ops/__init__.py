"""Differentiable registered ops, the same call on every backend."""

from m2t_fast.ops.attention import AttentionOutput, spatio_temporal_attention
from m2t_fast.ops.decode import DecoderWeights, SearchOutput, sample_words, search
from m2t_fast.ops.encoder import part_encoder
from m2t_fast.ops.gate import GateOutput, gated_decoder_step
from m2t_fast.ops.guided import guided_attention
from m2t_fast.ops.keys import attention_keys
from m2t_fast.ops.loss import spatial_loss
from m2t_fast.ops.lstm import LstmState, lstm_cells
from m2t_fast.ops.registry import available_backends, use_backend

__all__ = [
    "AttentionOutput",
    "DecoderWeights",
    "GateOutput",
    "LstmState",
    "SearchOutput",
    "attention_keys",
    "available_backends",
    "gated_decoder_step",
    "guided_attention",
    "lstm_cells",
    "part_encoder",
    "sample_words",
    "search",
    "spatial_loss",
    "spatio_temporal_attention",
    "use_backend",
]
