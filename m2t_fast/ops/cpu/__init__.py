"""Backend ``cpu``: C++ kernels, which skip padding and hold no tensor of words x frames x attention size."""

from m2t_fast.ops.cpu.launch import why_unavailable

__all__ = ["why_unavailable"]
