"""Backend ``cuda``: C++/CUDA kernels. float64 runs on ``reference``."""

from m2t_fast.ops.backends import or_reference, reference
from m2t_fast.ops.cuda import gate
from m2t_fast.ops.cuda.launch import why_unavailable

gated_decoder_step = or_reference(gate.gated_decoder_step, reference.gated_decoder_step)
gated_decoder_step_backward = or_reference(gate.gated_decoder_step_backward, reference.gated_decoder_step_backward)

__all__ = [
    "gated_decoder_step",
    "gated_decoder_step_backward",
    "why_unavailable",
]
