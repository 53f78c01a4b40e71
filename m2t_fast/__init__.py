"""Fused kernels and the whole system for interpretable motion captioning.

Public names are imported when they are first used, so that ``m2t-fast --help`` need not wait for torch. The ops are
registered with torch (``torch.ops.m2t_fast``) by ``import m2t_fast.ops``.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast import checkout, threads
from m2t_fast._version import __version__

threads.set_default()
checkout.warn_if_shadowing()

_ROOT = Path(__file__).parents[1]
if (_ROOT / "csrc").is_dir() and (_ROOT / "kernels").is_dir():
    __path__.append(str(_ROOT))  # a checkout on the path, not installed: its top-level kernels/ is m2t_fast.kernels

if TYPE_CHECKING:
    from m2t_fast import losses, metrics, ops, reference, released
    from m2t_fast.captioner import Captioner, CaptionerOutput
    from m2t_fast.config import CaptionerConfig
    from m2t_fast.data import Vocabulary, load_data
    from m2t_fast.inference import CaptioningRun, load_run
    from m2t_fast.ops.registry import available_backends, use_backend
    from m2t_fast.released import accelerate

_MODULE_OF = {
    "Captioner": "captioner",
    "CaptionerConfig": "config",
    "CaptionerOutput": "captioner",
    "CaptioningRun": "inference",
    "Vocabulary": "data",
    "accelerate": "released",
    "available_backends": "ops.registry",
    "load_data": "data",
    "load_run": "inference",
    "use_backend": "ops.registry",
}
"""Where the public names are; the other names of ``__all__`` are modules."""

__all__ = [
    "Captioner",
    "CaptionerConfig",
    "CaptionerOutput",
    "CaptioningRun",
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


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f"m2t_fast.{_MODULE_OF[name]}"), name)
    elif name in __all__:
        value = importlib.import_module(f"m2t_fast.{name}")
    else:
        raise AttributeError(f"module 'm2t_fast' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
