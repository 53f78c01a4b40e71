"""Backend ``cpu``: C++ kernels, which skip padding and hold no tensor of words x frames x attention size."""

from m2t_fast.ops.cpu.attention import spatio_temporal_attention, spatio_temporal_attention_backward
from m2t_fast.ops.cpu.decode import sample_words, search
from m2t_fast.ops.cpu.encoder import part_encoder, part_encoder_backward
from m2t_fast.ops.cpu.gate import gated_decoder_step, gated_decoder_step_backward
from m2t_fast.ops.cpu.launch import why_unavailable

__all__ = [
    "gated_decoder_step",
    "gated_decoder_step_backward",
    "part_encoder",
    "part_encoder_backward",
    "sample_words",
    "search",
    "spatio_temporal_attention",
    "spatio_temporal_attention_backward",
    "why_unavailable",
]
