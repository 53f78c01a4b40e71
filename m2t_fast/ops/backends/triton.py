"""Backend ``triton``: GPU kernels written in Python (kernels/). float64 and the part encoder run on ``reference``."""

from m2t_fast.ops.triton.launch import why_unavailable

__all__ = ["why_unavailable"]

if why_unavailable() is None:  # elsewhere the kernels cannot even be imported
    from m2t_fast.ops.triton.attention import spatio_temporal_attention, spatio_temporal_attention_backward

    __all__ += ["spatio_temporal_attention", "spatio_temporal_attention_backward"]
