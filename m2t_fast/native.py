"""The native extension: loads it beside torch's OpenMP runtime and checks arguments before it gets an address."""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import sys
from typing import Any

import torch
from torch import Tensor

from m2t_fast import threads
from m2t_fast.extension import kernel


class _SymbolInfo(ctypes.Structure):
    """`Dl_info` of dladdr(3)."""

    _fields_ = (
        ("library", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _torch_openmp() -> str | None:
    """Path of the OpenMP runtime that the loaded torch calls; None where torch was built without OpenMP."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = (line.rstrip("\n").split(maxsplit=5)[-1] for line in maps)
        torch_cpu = next((path for path in paths if os.path.basename(path).startswith("libtorch_cpu.so")), None)
    if torch_cpu is None:
        return None
    # dlsym on a library searches the library and what it was linked to, in load order: it finds what torch's own calls
    # reach, whatever the file is called.
    entry = getattr(ctypes.CDLL(torch_cpu, mode=os.RTLD_NOLOAD | os.RTLD_LAZY), "GOMP_parallel", None)
    info = _SymbolInfo()
    dladdr = ctypes.CDLL(None).dladdr
    dladdr.argtypes = (ctypes.c_void_p, ctypes.POINTER(_SymbolInfo))
    if entry is None or not dladdr(ctypes.cast(entry, ctypes.c_void_p), ctypes.byref(info)):
        return None
    return os.fsdecode(info.library)


def _load() -> tuple[Any, str | None, str | None]:
    """(extension or None, path of the OpenMP runtime made global, why there is no extension).

    Two OpenMP runtimes in a process mean two thread pools that compete for the cores. Linking the extension to
    libgomp.so.1 would not prevent that: the dynamic loader takes a library that is already there only if its SONAME is
    the same, and wheels of torch have carried theirs both as libgomp.so.1 and under a hashed name, and torch from conda
    calls another runtime altogether. So the extension is linked to none: its GOMP_* symbols are undefined, and here
    the runtime of the torch already in the process is opened again with its symbols made global, which maps nothing new
    and resolves them. Only where torch has no OpenMP is the system's libgomp loaded.
    """
    runtime = None
    if sys.platform == "linux":
        runtime = _torch_openmp() or "libgomp.so.1"
        try:
            ctypes.CDLL(runtime, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            runtime = None  # an extension built without OpenMP loads all the same; any other says which symbol it lacks
    try:
        return importlib.import_module("m2t_fast._native"), runtime, None
    except ModuleNotFoundError:
        reason = "m2t_fast._native is not built: install a C++ compiler, then install m2t_fast again"
    except ImportError as error:
        reason = f"m2t_fast._native does not load: {error}"
    return None, runtime, reason


_native, _openmp_runtime, _reason = _load()
threads.take_back()


def _watch_cores() -> bool:
    """Has the extension decide how long waiting threads look (m2t_fast/threads.py); whether it does."""
    named_gomp = os.path.basename(_openmp_runtime or "").startswith("libgomp")
    if _native is None or not named_gomp or not threads.watched() or not hasattr(_native, "watch_cores"):
        return False
    gomp = ctypes.CDLL(_openmp_runtime)
    entry = ctypes.cast(gomp.GOMP_parallel, ctypes.c_void_p).value
    return bool(_native.watch_cores(entry or 0, gomp.omp_get_num_procs(), torch.get_num_threads()))


watches_cores = _watch_cores()
"""Whether waiting threads give up their cores as soon as others want them."""


def cores_now() -> str:
    """What is known of the cores at this moment, to be read after m2t_fast.threads.wait_policy()."""
    if not watches_cores:
        return "; the cores are not watched" if threads.watched() else ""
    return f"; now {'others want them' if _native.cores_wanted() else 'they are free'}"


def available() -> bool:
    """Whether the extension is loaded. Where it is not, the functions of this module compute the same with torch."""
    return _native is not None


def why_unavailable() -> str | None:
    """One line saying why the extension is not loaded, None when it is."""
    return _reason


def build_info() -> dict[str, Any]:
    """What the extension was built with and runs on; empty where it is not loaded.

    Keys: `compiler` (str), `openmp` (bool: its loops use several threads), `openmp_runtime` (path of the library that
    torch and the extension share, or None), `cpu` (instruction sets of the running processor, e.g. `["avx2", "fma"]`).
    """
    if _native is None:
        return {}
    info: dict[str, Any] = _native.build_info()
    return {**info, "openmp_runtime": _openmp_runtime if info["openmp"] else None}


def address(tensor: Tensor, dtype: torch.dtype | None = None) -> int:
    """Where the memory of a contiguous tensor on the CPU begins: other tensors never reach native code.

    Raises ValueError for another device or layout, TypeError for another dtype than the one given.
    """
    if dtype is not None and tensor.dtype != dtype:
        raise TypeError(f"expected dtype {dtype}, got {tensor.dtype}")
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise ValueError(
            f"expected a contiguous tensor on the CPU, got one on {tensor.device} with strides {tensor.stride()}"
        )
    return tensor.data_ptr()


def pack_ragged(values: Tensor, offsets: Tensor, index: Tensor, width: int, fill: float = 0.0) -> Tensor:
    """Copies samples of a ragged array into one padded batch.

    values: (N, ...) contiguous, on the CPU, any dtype: the rows of all samples, one after the other.
    offsets: (M+1,) int64: sample m is `values[offsets[m]:offsets[m + 1]]`.
    index: (B,) int64, 0 <= index < M: the samples wanted, in any order, repeats allowed.
    width: rows of the result; no sample may be longer, nothing is cut off.
    fill: value of the rows that a sample does not reach, exactly representable in an integer or bool dtype.

    Returns (B, width, ...) with the dtype of `values`. Not differentiable: it is made for data.
    Raises TypeError for an argument of the wrong kind or dtype, ValueError for a wrong shape, layout or value.
    """
    begin, length = _checked_samples(values, offsets, index, width)
    pattern = _fill_pattern(fill, values.dtype)
    if _native is None:
        return _pack_with_torch(values, begin, length, width, pattern)
    out = values.new_empty((index.numel(), width, *values.shape[1:]))
    if out.numel() == 0:
        return out
    offsets, index = offsets.contiguous(), index.contiguous()
    task = dict(
        values=values,
        offsets=offsets,
        index=index,
        count=index.numel(),
        width=width,
        row_bytes=math.prod(values.shape[1:]) * values.element_size(),
        fill=pattern,
        item_bytes=values.element_size(),
        out=out,
    )
    kernel(_native, "pack_ragged", None, address)(task=task, threads=torch.get_num_threads())
    return out


def _checked_samples(values: Tensor, offsets: Tensor, index: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """First row and number of rows (B,) of every sample wanted, after checking what `pack_ragged` promises to check."""
    for name, tensor in (("values", values), ("offsets", offsets), ("index", index)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
        if tensor.device.type != "cpu":
            raise ValueError(f"{name}: expected a tensor on the CPU, got one on {tensor.device}")
    for name, tensor in (("offsets", offsets), ("index", index)):
        if tensor.dtype != torch.int64:
            raise TypeError(f"{name}: expected dtype torch.int64, got {tensor.dtype}")
        if tensor.dim() != 1:
            raise ValueError(f"{name}: expected one dimension, got shape {tuple(tensor.shape)}")
    if values.dim() < 1 or not values.is_contiguous():
        raise ValueError(
            f"values: expected a contiguous tensor of shape (N, ...), got shape {tuple(values.shape)} with strides "
            f"{values.stride()}"
        )
    if values.requires_grad:
        raise ValueError("values: expected a tensor that requires no gradient (packing is not differentiable)")
    if offsets.numel() < 1:
        raise ValueError("offsets: expected at least one entry (M samples have M+1), got shape (0,)")
    if isinstance(width, bool) or not isinstance(width, int):
        raise TypeError(f"width: expected an int, got {type(width).__name__}")
    if width < 0:
        raise ValueError(f"width: expected at least 0, got {width}")
    samples = offsets.numel() - 1
    wrong = _first((index < 0) | (index >= samples))
    if wrong is not None:
        raise ValueError(f"index[{wrong}]: expected at least 0 and less than {samples}, got {int(index[wrong])}")
    begin, end = offsets[index], offsets[index + 1]
    wrong = _first((begin < 0) | (end < begin) | (end > values.shape[0]))
    if wrong is not None:
        raise ValueError(
            f"offsets: sample {int(index[wrong])} is given rows {int(begin[wrong])} to {int(end[wrong])}, expected "
            f"rows in order within 0 to {values.shape[0]}"
        )
    wrong = _first(end - begin > width)
    if wrong is not None:
        raise ValueError(
            f"width: expected at least {int(end[wrong] - begin[wrong])}, the rows of sample {int(index[wrong])}, "
            f"got {width}"
        )
    return begin, end - begin


def _first(wrong: Tensor) -> int | None:
    """Position of the first true entry of (B,) bool, None if there is none."""
    return int(wrong.nonzero()[0]) if bool(wrong.any()) else None


def _fill_pattern(fill: float, dtype: torch.dtype) -> Tensor:
    """One element (1,) of `dtype` that holds `fill`."""
    try:
        pattern = torch.full((1,), fill, dtype=dtype, device="cpu")
    except TypeError:
        raise TypeError(f"fill: expected a number, got {type(fill).__name__}") from None
    except RuntimeError:
        pattern = None
    exact = dtype.is_floating_point or dtype.is_complex
    if pattern is None or (not exact and pattern.item() != fill):
        raise ValueError(f"fill: expected a value that {dtype} can hold, got {fill}")
    return pattern


def _pack_with_torch(values: Tensor, begin: Tensor, length: Tensor, width: int, pattern: Tensor) -> Tensor:
    """`pack_ragged` by torch's indexing, where the extension is not built; arguments already checked."""
    step = torch.arange(width, device="cpu")
    filled = step < length[:, None]
    out = pattern.expand(begin.numel(), width, *values.shape[1:]).clone()
    out[filled] = values[(begin[:, None] + step)[filled]]
    return out
