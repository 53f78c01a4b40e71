"""Fused kernels and the whole system for interpretable motion captioning."""

from m2t_fast import losses, ops, reference
from m2t_fast._version import __version__
from m2t_fast.captioner import Captioner, CaptionerOutput
from m2t_fast.config import CaptionerConfig
from m2t_fast.ops.registry import available_backends, use_backend

__all__ = [
    "Captioner",
    "CaptionerConfig",
    "CaptionerOutput",
    "__version__",
    "available_backends",
    "losses",
    "ops",
    "reference",
    "use_backend",
]
