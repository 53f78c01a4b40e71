"""How every CUDA kernel is called: dtype, addresses, the tensor's device and torch's current stream.

The kernels take records of contiguous tensors and of sizes, in float32 or bfloat16, and compute in float32; float16 is
widened, and float64 runs on ``reference``. Shapes were checked by the ops, and lengths are clamped by the kernels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from m2t_fast import native
from m2t_fast.extension import kernel, why_stale
from m2t_fast.ops.capability import check_dtype

emulated: ModuleType | None = None
"""The kernels compiled as plain C++, on CPU tensors: set by their tests, and never otherwise."""


@contextlib.contextmanager
def emulating(extension: ModuleType) -> Iterator[None]:
    """Inside the block launchers call this emulated device."""
    global emulated
    before, emulated = emulated, extension
    try:
        yield
    finally:
        emulated = before


def why_unavailable() -> str | None:
    """Why the kernels cannot run here, or None if they can."""
    if emulated is not None:
        return None
    if not native.available():
        return native.why_unavailable()
    if not hasattr(native._native, "cuda"):
        return "m2t_fast._native was built without CUDA: install m2t_fast again with nvcc on the PATH, or CUDA_HOME set"
    if (reason := why_stale(native._native.cuda, "cuda")) is not None:
        return reason
    if not torch.cuda.is_available() or torch.version.cuda is None:
        return "torch finds no CUDA device"
    best = max(torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count()))
    if best < (7, 5):
        return f"the kernels need compute capability 7.5, the best device here has {best[0]}.{best[1]}"
    return None


def ready(tensor: Tensor) -> Tensor:
    """The tensor as a kernel takes it: contiguous, in a dtype that it reads."""
    return (tensor.to(stored(tensor.dtype)) if tensor.is_floating_point() else tensor).contiguous()


def stored(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a kernel reads and writes tensors of ``dtype``."""
    return torch.bfloat16 if dtype == torch.bfloat16 else torch.float32


def address(x: Tensor) -> int:
    """Where a tensor lies.

    The caller holds it until it has launched; after that torch's allocator gives its memory only to later work of the
    same stream.

    Raises:
        ValueError: not on a CUDA device, or not contiguous: no kernel could read it.
    """
    if not (x.is_cuda or emulated is not None) or not x.is_contiguous():
        where = f"on {x.device}, with shape {tuple(x.shape)} and strides {x.stride()}"
        raise ValueError(f"a kernel of the backend cuda got a tensor {where}, expected a contiguous one on a device")
    return x.data_ptr()


def extension() -> ModuleType:
    """The module that holds the kernels."""
    made: ModuleType = emulated if emulated is not None else native._native.cuda
    return made


def run(op: str, name: str, like: Tensor, sizes: Mapping[str, int], /, **given: Any) -> Any:
    """Launches the kernel ``name`` for tensors of the dtype and on the device of ``like``, in torch's current stream.

    Args:
        op, sizes: what an error names: the op and its sizes by letter.
        given: the kernel's records by name, without its place: :mod:`m2t_fast.extension`.

    Raises:
        RuntimeError: CUDA refused the launch, or an earlier kernel has failed; the message names op and sizes. Or the
            device has no bfloat16.
    """
    check_dtype(like)
    dtype = stored(like.dtype)
    device, stream = 0, 0
    guard: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if like.is_cuda:
        device = like.device.index
        stream = torch.cuda.current_stream(like.device).cuda_stream
        guard = torch.cuda.device(device)  # the extension makes it current; the caller's device shall be so again
    try:
        with guard:
            return kernel(extension(), name, dtype, address)(place=dict(device=device, stream=stream), **given)
    except RuntimeError as error:
        letters = ", ".join(f"{letter}={size}" for letter, size in sizes.items())
        kind = str(dtype).removeprefix("torch.")
        raise RuntimeError(f"{op} on {like.device} in {kind} ({letters}): {error}") from None
