"""The ops, the backends, which of them can run here, and which one an op call uses.

A backend is a package ``m2t_fast.ops.NAME`` with ``why_unavailable()``, which gives a reason or None. In its module
``FILE`` (the op's ``file``) stand, for an op that it has kernels for,

- ``OP(x)`` and ``OP_backward(grads, x[, saved])`` with records of tensors;
- ``OP_takes(x)``, if it does not take every input: why not, or None. A package's own ``takes(x)`` is asked before;
- ``OP_keeps(x)``, if ``OP(x, keep=True)`` keeps something for the gradient: whether it does.

What a backend has no kernel for, or does not take, runs on what the op declares, else on ``reference``: :func:`why_not`
says why.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

from m2t_fast.ops.checks import autocast_enabled

BACKENDS: tuple[str, ...] = ("reference", "cpu", "triton", "cuda")
AUTOGRAD = "autograd"
"""Plain PyTorch under autograd, no registered op: what others are compared with. It runs only when named."""
DEVICE_TYPES: dict[str, tuple[str, ...]] = {
    "reference": ("cpu", "cuda", "mps", "xpu", "meta"),
    "cpu": ("cpu",),
    "triton": ("cuda", "cpu") if os.environ.get("TRITON_INTERPRET") == "1" else ("cuda",),
    "cuda": ("cuda",),
    AUTOGRAD: ("cpu", "cuda", "mps", "xpu", "meta"),
}
FASTEST_FIRST: tuple[str, ...] = ("triton", "cuda", "cpu", "reference")
_FEWER = "its tanh takes fewer instructions and special-function operations (counted, docs/kernels-counted.md)"
FIRST: dict[str, tuple[str, str]] = dict.fromkeys(
    ("spatio_temporal_attention", "spatio_temporal_context", "guided_attention"), ("cuda", _FEWER)
)
"""What ``auto`` tries before FASTEST_FIRST for an op, and why."""
INTERPRETED = (("triton", "cpu"), ("cuda", "cpu"))
"""Triton's interpreter and the emulated CUDA device: tests of the kernels, asked for by name and never picked."""
VARIABLE = "M2T_FAST_BACKEND"

OPS: dict[str, Any] = {}
"""Every op by name; ``m2t_fast.ops.op`` enters them."""

# A plain global, not a context variable: torch.compile guards on it and recompiles when it changes.
_chosen: str = os.environ.get(VARIABLE) or "auto"


def _check_name(name: str, source: str) -> str:
    if name not in (*BACKENDS, "auto", AUTOGRAD):
        expected = ", ".join((*BACKENDS, "auto", AUTOGRAD))
        raise ValueError(f"{source}: unknown backend {name!r}, expected one of {expected}")
    return name


@functools.cache
def _package(name: str) -> ModuleType:
    return importlib.import_module(f"m2t_fast.ops.{name}")


@functools.cache
def why_unavailable(name: str) -> str | None:
    """Why backend ``name`` cannot run here, or None if it can."""
    if name == AUTOGRAD:
        return None
    reason: str | None = _package(name).why_unavailable()
    return reason


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

    ``"autograd"`` is plain PyTorch: the functions of ``m2t_fast.reference`` themselves, differentiated by autograd.
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
    """The requested backend: by :func:`use_backend`, else by the variable M2T_FAST_BACKEND, else ``"auto"``.

    An op takes this name, and its implementation resolves it: forward and backward resolve to the same backend, and a
    compiled graph holds only the name.
    """
    return _chosen


def check_choice() -> None:
    """Raise now what the first op call would raise for a bad M2T_FAST_BACKEND."""
    _require(_chosen, f"environment variable {VARIABLE}")


@functools.cache
def _kernels(backend: str, op: str) -> ModuleType | None:
    """The module of the backend that has a kernel for the op; None: it has none."""
    path = f"m2t_fast.ops.{backend}.{OPS[op].file}"
    if why_unavailable(backend) is not None or importlib.util.find_spec(path) is None:
        return None
    module = importlib.import_module(path)
    return module if hasattr(module, op) else None


@functools.cache
def resolve(op: str, choice: str, device_type: str) -> str:
    """The backend that runs ``op`` on tensors of ``device_type`` when ``choice`` was asked for.

    Raises:
        ValueError: no such backend. RuntimeError: it cannot run here, or not on such tensors.
    """
    _require(choice, "backend")
    if choice == AUTOGRAD:
        return resolve(op, "auto", device_type) if OPS[op].is_data else "reference"
    if choice == "auto":
        every = (FIRST[op][0], *FASTEST_FIRST) if op in FIRST else FASTEST_FIRST
        names = (n for n in every if device_type in DEVICE_TYPES[n] and (n, device_type) not in INTERPRETED)
        return next((name for name in names if _kernels(name, op) is not None), "reference")
    if device_type not in DEVICE_TYPES[choice]:
        raise RuntimeError(f"{op}: backend {choice!r} does not run on {device_type} tensors")
    return choice if _kernels(choice, op) is not None else "reference"


def runs_on(op: str, choice: str, device_type: str) -> str:
    """What :func:`resolve` says, in words: an op made of others runs where these do."""
    backend = resolve(op, choice, device_type)
    if backend != "reference" or not OPS[op].made_of:
        return backend
    return ", ".join(f"{part} of {resolve(part, choice, device_type)}" for part in OPS[op].made_of)


def why_first(op: str, device_type: str) -> str | None:
    """Why ``auto`` prefers another backend for this op than for others, or None if it does not."""
    backend, reason = FIRST.get(op, ("", ""))
    return reason if resolve(op, "auto", device_type) == backend else None


def why_not(op: str, backend: str, x: Any = None) -> str | None:
    """Why ``backend`` does not run the op on the inputs ``x`` (None: on any inputs), or None if it does."""
    if (reason := why_unavailable(backend)) is not None:
        return reason
    module = _kernels(backend, op)
    if module is None:
        return None if backend == "reference" else "it has no kernel for this op"
    if x is None:
        return None
    for takes in (getattr(_package(backend), "takes", None), getattr(module, f"{op}_takes", None)):
        if takes is not None and (reason := takes(x)) is not None:
            return reason
    return None


def has_kernel(op: str, tensor: torch.Tensor) -> bool:
    """Whether the chosen backend has a kernel of its own for ``op``, on the device and in the dtype of ``tensor``."""
    backend = resolve(op, _chosen, tensor.device.type)
    takes = getattr(_package(backend), "takes", None)
    return backend != "reference" and (takes is None or takes((tensor,)) is None)


def _of(op: Any, choice: str, x: Any) -> str:
    """The backend that runs the op on these inputs; "reference" where the one that was chosen does not."""
    backend = resolve(op.name, choice, x[0].device.type)
    return "reference" if backend != "reference" and why_not(op.name, backend, x) else backend


def keeps(op: Any, choice: str, x: Any) -> bool:
    """Whether the op's forward pass keeps something for its gradient."""
    module = _kernels(_of(op, choice, x), op.name)
    decide = getattr(module, f"{op.name}_keeps", None)
    return decide is not None and bool(decide(x))


def implementation(op: Any, choice: str, x: Any, suffix: str = "") -> Callable[..., Any]:
    """The function that runs the op (or its gradient, suffix "_backward") on the inputs ``x``.

    It runs without autocast: its inputs have the dtype that was asked for, and what it widens must stay wide.
    """
    device_type = x[0].device.type
    backend = _of(op, choice, x)
    module = _kernels(backend, op.name)
    if module is not None:
        function = getattr(module, op.name + suffix)
    elif (other := op.otherwise_backward if suffix else op.otherwise) is not None:
        function = functools.partial(other, choice)
    else:
        function = op.reference_of_record
    if not autocast_enabled(device_type):
        return function
    return torch.autocast(device_type, enabled=False)(function)


def call(name: str, choice: str, x: Any) -> Any:
    """The outputs of the op ``name`` on the backend that ``choice`` resolves to: for ops made of others."""
    return implementation(OPS[name], choice, x)(x)


def call_backward(name: str, choice: str, grads: Any, x: Any, *saved: Any) -> dict[str, torch.Tensor]:
    """The gradients of the op ``name`` on the backend that ``choice`` resolves to."""
    found: dict[str, torch.Tensor] = implementation(OPS[name], choice, x, "_backward")(grads, x, *saved)
    return found
