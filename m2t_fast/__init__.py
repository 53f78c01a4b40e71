"""Fused kernels and the whole system for interpretable motion captioning."""

from m2t_fast import losses, metrics, ops, reference, released
from m2t_fast._version import __version__
from m2t_fast.captioner import Captioner, CaptionerOutput
from m2t_fast.config import CaptionerConfig
from m2t_fast.data import Vocabulary, load_data
from m2t_fast.ops.registry import available_backends, use_backend
from m2t_fast.released import accelerate
from m2t_fast.training.run_folder import load_run

__all__ = [
    "Captioner",
    "CaptionerConfig",
    "CaptionerOutput",
    "Vocabulary",
    "__version__",
    "accelerate",
    "available_backends",
    "load_data",
    "load_run",
    "losses",
    "metrics",
    "ops",
    "reference",
    "released",
    "use_backend",
]
