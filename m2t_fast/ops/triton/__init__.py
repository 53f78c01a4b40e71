"""Backend ``triton``: GPU kernels written in Python (kernels/), which compute in float32."""

from m2t_fast.ops.checks import float64_on_reference as takes
from m2t_fast.ops.triton.launch import why_unavailable

__all__ = ["takes", "why_unavailable"]
