"""Backend ``cpu``: C++ kernels, which skip padding and hold no tensor of words x frames x attention size."""

from m2t_fast.ops.cpu.attention import spatio_temporal_attention, spatio_temporal_attention_backward
from m2t_fast.ops.cpu.decode import sample_words, search
from m2t_fast.ops.cpu.draws import random_draws
from m2t_fast.ops.cpu.encoder import part_encoder, part_encoder_backward
from m2t_fast.ops.cpu.gate import gated_decoder_step, gated_decoder_step_backward
from m2t_fast.ops.cpu.gather import gather_motions
from m2t_fast.ops.cpu.keys import attention_keys, attention_keys_backward
from m2t_fast.ops.cpu.launch import why_unavailable
from m2t_fast.ops.cpu.loss import spatial_loss, spatial_loss_backward

KEEPS_GAMMA = True
"""The gradient of attention uses gamma of the forward pass where it was kept."""

__all__ = [
    "KEEPS_GAMMA",
    "attention_keys",
    "attention_keys_backward",
    "gated_decoder_step",
    "gated_decoder_step_backward",
    "gather_motions",
    "part_encoder",
    "part_encoder_backward",
    "random_draws",
    "sample_words",
    "search",
    "spatial_loss",
    "spatial_loss_backward",
    "spatio_temporal_attention",
    "spatio_temporal_attention_backward",
    "why_unavailable",
]
