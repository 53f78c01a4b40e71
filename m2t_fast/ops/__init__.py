"""Differentiable registered ops, the same call on every backend."""

from m2t_fast.ops.additive_attention import AdditiveOutput, additive_attention
from m2t_fast.ops.attention import AttentionOutput, spatio_temporal_attention, spatio_temporal_context
from m2t_fast.ops.attention_with_loss import guided_attention
from m2t_fast.ops.decode import DecoderWeights, SearchOutput, sample_words, search
from m2t_fast.ops.draws import DrawsOutput, random_draws
from m2t_fast.ops.encoder import part_encoder
from m2t_fast.ops.gate import GateOutput, gated_decoder_step
from m2t_fast.ops.gate_with_loss import guided_decoder_step
from m2t_fast.ops.gather import gather_motions
from m2t_fast.ops.keys import attention_keys
from m2t_fast.ops.loss import spatial_loss
from m2t_fast.ops.lstm import LstmState, lstm_cells
from m2t_fast.ops.registry import available_backends, use_backend

__all__ = [
    "AdditiveOutput",
    "additive_attention",
    "AttentionOutput",
    "DecoderWeights",
    "DrawsOutput",
    "GateOutput",
    "LstmState",
    "SearchOutput",
    "attention_keys",
    "available_backends",
    "gated_decoder_step",
    "gather_motions",
    "guided_attention",
    "guided_decoder_step",
    "lstm_cells",
    "part_encoder",
    "random_draws",
    "sample_words",
    "search",
    "spatial_loss",
    "spatio_temporal_attention",
    "spatio_temporal_context",
    "use_backend",
]
