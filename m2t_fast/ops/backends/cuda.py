"""Backend ``cuda``: C++/CUDA kernels. float64 runs on ``reference``."""

from __future__ import annotations

from m2t_fast.ops.backends import or_reference, reference
from m2t_fast.ops.cuda import attention, decode, gate, lstm
from m2t_fast.ops.cuda.launch import why_unavailable

gated_decoder_step = or_reference(gate.gated_decoder_step, reference.gated_decoder_step)
gated_decoder_step_backward = or_reference(gate.gated_decoder_step_backward, reference.gated_decoder_step_backward)
lstm_cells = or_reference(lstm.lstm_cells, reference.lstm_cells)
lstm_cells_backward = or_reference(lstm.lstm_cells_backward, reference.lstm_cells_backward)
search = or_reference(decode.search, reference.search)
sample_words = or_reference(decode.sample_words, reference.sample_words)
spatio_temporal_attention = or_reference(attention.spatio_temporal_attention, reference.spatio_temporal_attention)
spatio_temporal_attention_backward = or_reference(
    attention.spatio_temporal_attention_backward, reference.spatio_temporal_attention_backward
)
spatio_temporal_context = or_reference(
    attention.spatio_temporal_context, lambda *arguments: reference.spatio_temporal_attention(*arguments)[0]
)
guided_attention, guided_attention_backward = attention.guided_attention, attention.guided_attention_backward

__all__ = [
    "gated_decoder_step",
    "gated_decoder_step_backward",
    "guided_attention",
    "guided_attention_backward",
    "lstm_cells",
    "lstm_cells_backward",
    "sample_words",
    "search",
    "spatio_temporal_attention",
    "spatio_temporal_attention_backward",
    "spatio_temporal_context",
    "why_unavailable",
]
