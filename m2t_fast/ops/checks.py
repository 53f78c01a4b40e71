"""Argument checks shared by the public functions: shapes, dtypes, and ranges of caller-given indices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.registration import register


def check_shape(op: str, name: str, tensor: Tensor, expected: tuple[int | str, ...], sizes: dict[str, int]) -> None:
    """Compare a shape with a pattern such as ``("B", "T", 3)``; letters are looked up in, or added to, ``sizes``.

    Raises:
        TypeError: not a tensor, or a sparse one. ValueError: another shape. Both name the argument.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided:
        raise TypeError(f"{op}: {name} has layout {tensor.layout}, expected torch.strided (to_dense() makes it)")
    wanted = [sizes.get(d, d) if isinstance(d, str) else d for d in expected]
    if tensor.dim() == len(wanted):
        pairs = zip(wanted, tensor.shape, strict=True)
        if all(isinstance(want, str) or want == size for want, size in pairs):
            for letter, size in zip(expected, tensor.shape, strict=True):
                if isinstance(letter, str):
                    sizes.setdefault(letter, size)
            return
    pattern = ", ".join(f"{d}={sizes[d]}" if isinstance(d, str) and d in sizes else str(d) for d in expected)
    raise ValueError(f"{op}: {name} has shape {tuple(tensor.shape)}, expected ({pattern})")


def check_same_float(op: str, **tensors: Tensor) -> None:
    """All tensors share one floating dtype and one device.

    Raises:
        TypeError: a dtype differs. ValueError: a device differs. Both name the argument.
    """
    first = next(iter(tensors))
    dtype, device = tensors[first].dtype, tensors[first].device
    if not dtype.is_floating_point:
        raise TypeError(f"{op}: {first} has dtype {dtype}, expected a floating dtype")
    for name, tensor in tensors.items():
        if tensor.dtype != dtype:
            raise TypeError(f"{op}: {name} has dtype {tensor.dtype}, expected {dtype} as {first}")
        if tensor.device != device:
            raise ValueError(f"{op}: {name} is on {tensor.device}, expected {device} as {first}")


def wide(x: Tensor) -> Tensor:
    """``x``, in float32 where it is stored shorter: losses and their sums keep that precision under autocast, too."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


# Asked once: inside a compiled graph torch 2.11 cannot ask.
_AUTOCAST_DEVICES = [name for name in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(name)]


def autocast_dtype(x: object) -> torch.dtype | None:
    """The dtype of ``torch.autocast`` where it is enabled for the device of ``x``; None: inputs stay as they are."""
    if not isinstance(x, Tensor):
        return None  # the checks that follow say so
    device_type = x.device.type
    return torch.get_autocast_dtype(device_type) if autocast_enabled(device_type) else None


def autocast_enabled(device_type: str) -> bool:
    """Whether ``torch.autocast`` is enabled for tensors of this device."""
    return device_type in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device_type)


def transformed() -> bool:
    """Whether ``torch.func`` transforms the call (grad, jacrev, vmap, jvp): it cannot see into a registered op."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


def _checked_range(values: Tensor, low: int, high: int, name: str) -> Tensor:
    outside = (values < low) | (values > high)
    if values.is_cuda and torch.cuda.is_current_stream_capturing():
        # Nothing can be read while a graph is captured: the device checks at every replay.
        torch._assert_async(outside.any().logical_not(), f"{name}: a value outside {low} to {high}")
        return values.clone()
    if outside.any():
        worst = values[outside][0].item()
        where = tuple(outside.nonzero()[0].tolist())
        place = ", ".join(map(str, where))
        raise ValueError(f"{name}[{place}] is {worst}, expected {low} to {high}")
    return values.clone()


register("checked_range", _checked_range, lambda values, low, high, name: torch.empty_like(values))


def checked_indices(name: str, values: Tensor, low: int, high: int) -> Tensor:
    """An integer tensor as int64 after a range check; use the result, so that a compiled graph keeps the check.

    Raises:
        TypeError: not an integer tensor. ValueError: a value outside ``low`` to ``high``; the message says which.
    """
    if not isinstance(values, Tensor) or values.dtype.is_floating_point or values.dtype == torch.bool:
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(f"{name} must be an int64 tensor, got {kind}")
    return torch.ops.m2t_fast.checked_range(values.to(torch.int64), low, high, name)


def float64_on_reference(x: Iterable[Any]) -> str | None:
    """Why kernels that compute in float32 do not take the inputs of an op."""
    if any((value.dtype if isinstance(value, Tensor) else value) is torch.float64 for value in x):
        return "the kernels compute in float32, not in float64"
    return None
