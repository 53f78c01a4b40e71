"""The backends, which of them can run here, and which one an op call uses.

A backend is a module ``m2t_fast.ops.backends.NAME`` with a function ``OP`` and a function ``OP_backward`` for every op
it implements, all with the signatures of the registered ops, and ``why_unavailable()``, which gives a reason or None.
An op that a backend leaves out runs on ``reference``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from types import ModuleType

import torch

BACKENDS: tuple[str, ...] = ("reference", "cpu", "triton", "cuda")
DEVICE_TYPES: dict[str, tuple[str, ...]] = {
    "reference": ("cpu", "cuda", "mps", "xpu", "meta"),
    "cpu": ("cpu",),
    "triton": ("cuda", "cpu") if os.environ.get("TRITON_INTERPRET") == "1" else ("cuda",),
    "cuda": ("cuda",),
}
FASTEST_FIRST: tuple[str, ...] = ("triton", "cuda", "cpu", "reference")
INTERPRETED = (("triton", "cpu"), ("cuda", "cpu"))
"""Triton's interpreter and the emulated CUDA device: tests of the kernels, asked for by name and never picked."""
VARIABLE = "M2T_FAST_BACKEND"

# A plain global, not a context variable: torch.compile guards on it and recompiles when it changes.
_chosen: str = os.environ.get(VARIABLE) or "auto"


def _check_name(name: str, source: str) -> str:
    if name not in (*BACKENDS, "auto"):
        raise ValueError(f"{source}: unknown backend {name!r}, expected one of {', '.join(BACKENDS)}, auto")
    return name


@functools.cache
def _module(name: str) -> ModuleType | None:
    path = f"m2t_fast.ops.backends.{name}"
    return importlib.import_module(path) if importlib.util.find_spec(path) else None


@functools.cache
def why_unavailable(name: str) -> str | None:
    """Why backend ``name`` cannot run here, or None if it can."""
    module = _module(name)
    return f"this version of m2t_fast has no {name} kernels" if module is None else module.why_unavailable()


def available_backends() -> tuple[str, ...]:
    """Names of the backends that can run on this machine."""
    return tuple(name for name in BACKENDS if why_unavailable(name) is None)


def _require(name: str, source: str) -> str:
    _check_name(name, source)
    if name != "auto" and (reason := why_unavailable(name)) is not None:
        raise RuntimeError(f"{source}: backend {name!r} cannot run here: {reason}")
    return name


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every op inside the block on backend ``name``, or on the fastest that can run with ``"auto"``.

    The choice holds for the process, not for one thread; a gradient runs on the backend of its forward pass.

    Raises:
        ValueError: no such backend.
        RuntimeError: the backend cannot run here; the message says why.
    """
    global _chosen
    _require(name, "use_backend")
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def chosen_backend() -> str:
    """The backend asked for: by :func:`use_backend`, else by the variable M2T_FAST_BACKEND, else ``"auto"``.

    An op takes this name, and its implementation resolves it: forward and backward come to the same backend, and a
    compiled graph holds the name alone.
    """
    return _chosen


def check_choice() -> None:
    """Raise now what the first op call would raise for a bad M2T_FAST_BACKEND."""
    _require(_chosen, f"environment variable {VARIABLE}")


@functools.cache
def resolve(op: str, choice: str, device_type: str) -> str:
    """The backend that runs ``op`` on tensors of ``device_type`` when ``choice`` was asked for.

    Raises:
        ValueError: no such backend. RuntimeError: it cannot run here, or not on such tensors.
    """
    _require(choice, "backend")
    if choice == "auto":
        names = (n for n in FASTEST_FIRST if device_type in DEVICE_TYPES[n] and (n, device_type) not in INTERPRETED)
        candidates = (n for n in names if why_unavailable(n) is None)
        return next((name for name in candidates if hasattr(_module(name), op)), "reference")
    if device_type not in DEVICE_TYPES[choice]:
        raise RuntimeError(f"{op}: backend {choice!r} does not run on {device_type} tensors")
    return choice if hasattr(_module(choice), op) else "reference"


def supports(op: str, choice: str, tensor: torch.Tensor, feature: str) -> bool:
    """Whether the backend that runs ``op`` on the device of ``tensor`` has ``feature``, a constant of its module."""
    return getattr(_module(resolve(op, choice, tensor.device.type)), feature, False)


def implementation(op: str, choice: str, tensor: torch.Tensor, suffix: str = "") -> Callable:
    """The function that runs ``op`` (or its gradient, suffix "_backward") on the device of ``tensor``.

    It runs without autocast: its inputs have the dtype that was asked for, and what it widens must stay wide.
    """
    device_type = tensor.device.type
    function = getattr(_module(resolve(op, choice, device_type)), op + suffix)
    if not torch.amp.is_autocast_available(device_type) or not torch.is_autocast_enabled(device_type):
        return function
    return torch.autocast(device_type, enabled=False)(function)
