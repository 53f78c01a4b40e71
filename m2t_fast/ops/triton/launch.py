"""How every Triton kernel is launched: on the tensor's device, in torch's current stream, with that device's table."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.capability import check_dtype


def interpreted() -> bool:
    """Whether TRITON_INTERPRET=1 makes the kernels plain Python on CPU tensors: a test, not a way to run."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def why_unavailable() -> str | None:
    """Why the kernels cannot run here, or None if they can."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if interpreted():
        return None
    if not torch.cuda.is_available():
        return "torch finds no CUDA device (TRITON_INTERPRET=1 runs the kernels in Triton's interpreter, as a test)"
    if torch.version.cuda is None:
        return "the kernels are written for NVIDIA's GPUs, and this torch is built for others"
    best = max(torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count()))
    if best < (7, 5):
        return f"the kernels need compute capability 7.5, the best device here has {best[0]}.{best[1]}"
    return None


assumed: str | None = None
"""The device whose kernels a launcher asks for, whatever the tensors' is; set while compiling ahead of time."""
assumed_capability = 90
"""And its compute capability (90: H100)."""


@contextlib.contextmanager
def assuming(device: str, capability: int = 90) -> Iterator[None]:
    """Inside the block launchers ask for the kernels of this device."""
    global assumed, assumed_capability
    before = assumed, assumed_capability
    assumed, assumed_capability = device, capability
    try:
        yield
    finally:
        assumed, assumed_capability = before


def capability(tensor: Tensor) -> int:
    """Of the device that a launcher asks for kernels of; 0 where none is, as in the interpreter."""
    if assumed is not None:
        return assumed_capability
    major, minor = torch.cuda.get_device_capability(tensor.device) if tensor.is_cuda else (0, 0)
    return 10 * major + minor


def kind(dtype: torch.dtype) -> str:
    """``float32`` or ``short``: which of a kernel's two configurations, and whether it may round as bfloat16 allows.

    float16 is not ``short``: its resolution of 2^-11 shows in sharp attention over a long motion.
    """
    return "short" if dtype == torch.bfloat16 else "float32"


@functools.cache
def _device_name(index: int) -> str:
    return torch.cuda.get_device_name(index)


def configuration(kernel: str, tensor: Tensor) -> dict[str, Any]:
    """Block sizes and launch options of ``kernel`` for a tensor's device and dtype."""
    from m2t_fast.kernels import devices

    check_dtype(tensor)
    name = assumed or (_device_name(tensor.device.index) if tensor.is_cuda else "interpreter")
    # A multiplication and the addition after it round once, as they always did; newer compilers want to be asked.
    return {**devices.configuration(name, kernel, kind(tensor.dtype)), "enable_fp_fusion": True}


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device: make it the tensor's."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def ready(tensor: Tensor) -> Tensor:
    """The tensor as a kernel takes it: contiguous."""
    return (tensor.to(stored(tensor)) if tensor.is_floating_point() else tensor).contiguous()


def float_target(target: Tensor | None) -> Tensor | None:
    """Targets as the kernels compare them: 1, 0 or -1 in float32."""
    return None if target is None else target.float().contiguous()


def stored(tensor: Tensor) -> torch.dtype:
    """The dtype in which a kernel reads and writes: the tensor's own, in the interpreter float32.

    The interpreter's conversions from float32 to shorter formats do not round to nearest.
    """
    return torch.float32 if interpreted() else tensor.dtype


def power_of_2(n: int) -> int:
    """The smallest power of 2 that is at least ``n``."""
    return 1 << max(0, n - 1).bit_length()
