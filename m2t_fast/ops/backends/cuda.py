"""Backend ``cuda``: C++/CUDA kernels. float64 runs on ``reference``."""

from m2t_fast.ops.cuda.launch import why_unavailable

__all__ = ["why_unavailable"]
