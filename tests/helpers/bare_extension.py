"""The extension's kernels against NumPy, without torch: `python bare_extension.py FOLDER_OF_THE_EXTENSION [THREADS]`.

For processors that torch is not at hand for: `.ci/release` cross compiles the extension for aarch64 and runs this in an
emulator. The tests of the ops go much further, on the machine that runs them.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def extension(folder: str) -> Any:
    """`_native` of a folder, with the system's OpenMP runtime made global if there is one (m2t_fast/native.py)."""
    with contextlib.suppress(OSError):  # the import says which symbol it lacks
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
    (file,) = Path(folder).glob("_native*.so")
    spec = importlib.util.spec_from_file_location("_native", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(ours: np.ndarray, truth: np.ndarray, what: str) -> None:
    """Equal up to the tolerance of the dtype, relative to the largest value."""
    error = np.abs(ours.astype(np.float64) - truth).max() / max(1e-12, np.abs(truth).max())
    assert error <= TOLERANCE[ours.dtype.type], f"{what}, {ours.dtype}: {error:.2e}"


def attention(inputs: list[np.ndarray], lengths: np.ndarray) -> list[np.ndarray]:
    """Eq. 2 to 6 and 8 in float64: context, window, spatial, mean, std."""
    parts, when, where, ask_when, ask_where, weight, rows, bias = (x.astype(np.float64) for x in inputs)
    frame = np.arange(parts.shape[1])
    valid = (frame < lengths[:, None])[:, None]

    def scores(keys: np.ndarray, query: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.tanh(keys[:, None] + query[:, :, None, None]) @ weights.T

    z = np.where(valid[..., None], scores(when, ask_when, weight[None])[..., 0], -np.inf)
    gamma = np.exp(z - z.max((2, 3), keepdims=True))
    gamma = (gamma / gamma.sum((2, 3), keepdims=True)).sum(-1)
    mean = (frame * gamma).sum(-1)
    std = np.sqrt(np.maximum((((frame - mean[..., None]) ** 2) * gamma).sum(-1), 1e-6))
    window = np.where(valid, np.exp(-0.5 * ((frame - mean[..., None]) / std[..., None]) ** 2), 0.0)
    alpha = scores(where, ask_where, rows) + bias
    alpha = np.exp(alpha.reshape(*alpha.shape[:3], -1))
    alpha = np.where(valid[..., None], alpha / alpha.sum(-1, keepdims=True), 0.0)
    context = np.einsum("blt,bltp,btph->blh", window, alpha, parts)
    return [context, window, alpha, mean, std]


def check_attention(native: Any, dtype: type, slots: int, threads: int) -> None:
    """Values against NumPy; the gradient against a difference quotient along one direction (float64)."""
    rng = np.random.default_rng(slots)
    B, T, L, P, H, D = 3, 11, 5, 6, 14, 13
    shapes = [(B, T, P, H), (B, T, slots, D), (B, T, slots, D), (B, L, D), (B, L, D), (D,), (P // slots, D)]
    inputs = [rng.normal(size=shape).astype(dtype) for shape in (*shapes, (P // slots,))]
    lengths = np.array([T, 4, 1], dtype=np.int64)
    suffix = np.dtype(dtype).name
    common = {"sizes": [B, T, L, P, slots, H, D], "lengths": lengths.ctypes.data, "scale": 1.0, "sigma_min": 1e-3}
    common |= {"threads": threads, "instruction_set": -1}

    def forward(values: list[np.ndarray]) -> list[np.ndarray]:
        out = [np.empty(s, dtype) for s in ((B, L, H), (B, L, T), (B, L, T, P), (B, L), (B, L), (B, L, T, slots))]
        at = {"inputs": [x.ctypes.data for x in values], "outputs": [x.ctypes.data for x in out]}
        getattr(native, f"attention_forward_{suffix}")(**at, **common)
        return out

    out = forward(inputs)
    for ours, truth, name in zip(
        out, attention(inputs, lengths), ("context", "window", "alpha", "m", "s"), strict=False
    ):
        close(ours, truth, f"attention {name}, S={slots}")
    if dtype is not np.float64:
        return
    grads = [rng.normal(size=x.shape) for x in out[:5]]
    made, directions = [np.empty_like(x) for x in inputs], [rng.normal(size=x.shape) for x in inputs]
    getattr(native, f"attention_backward_{suffix}")(
        inputs=[x.ctypes.data for x in inputs],
        kept=[out[2].ctypes.data, out[5].ctypes.data],
        grads=[x.ctypes.data for x in grads],
        outputs=[x.ctypes.data for x in made],
        **common,
    )
    step = 1e-6
    ahead, behind = (
        forward([x + sign * step * d for x, d in zip(inputs, directions, strict=True)]) for sign in (1, -1)
    )
    quotient = sum(((a - b) * g).sum() for a, b, g in zip(ahead, behind, grads, strict=False)) / (2 * step)
    derivative = sum((x * d).sum() for x, d in zip(made, directions, strict=True))
    assert abs(derivative - quotient) < 1e-6 * abs(quotient), f"attention gradient, S={slots}: {derivative} {quotient}"


def check_linear(native: Any, dtype: type, threads: int) -> None:
    """tanh(x W^T + b) and the gradients of x, W and b."""
    rng = np.random.default_rng(1)
    rows, inputs, outputs = 301, 37, 29
    x, weight, bias, grad = (
        rng.normal(size=s).astype(dtype) for s in ((rows, inputs), (outputs, inputs), (outputs,), (rows, outputs))
    )
    y, d_x, d_weight, d_bias = (np.empty(s, dtype) for s in ((rows, outputs), x.shape, weight.shape, bias.shape))
    common = {"rows": [1, rows, 1], "lengths": 0, "threads": threads, "instruction_set": -1}
    suffix, at = np.dtype(dtype).name, [[a.ctypes.data for a in arrays] for arrays in ((x, weight, bias, y),)]
    getattr(native, f"linear_forward_{suffix}")(layers=at, sizes=[[inputs, outputs]], tanh=True, wide=False, **common)
    close(y, np.tanh(x.astype(float) @ weight.astype(float).T + bias), "linear")
    pair = [[grad.ctypes.data, weight.ctypes.data]]
    getattr(native, f"linear_input_gradient_{suffix}")(
        layers=pair, outputs=[outputs], inputs=inputs, d_x=d_x.ctypes.data, **common
    )
    close(d_x, grad.astype(float) @ weight, "linear, gradient of x")
    at = [[a.ctypes.data for a in (grad, x, d_weight, d_bias)]]
    getattr(native, f"linear_weight_gradient_{suffix}")(layers=at, sizes=[[inputs, outputs]], **common)
    close(d_weight, grad.astype(float).T @ x, "linear, gradient of W")
    close(d_bias, grad.astype(float).sum(0), "linear, gradient of b")


def check_cross_entropy(native: Any, dtype: type, threads: int) -> None:
    """Losses of rows, and softmax minus one at the word in the logits' place."""
    rng = np.random.default_rng(2)
    logits = (3 * rng.normal(size=(9, 103))).astype(dtype)
    words, losses, truth = rng.integers(0, 103, 9), np.empty(9), logits.astype(float)
    softmax = np.exp(truth - truth.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    getattr(native, f"cross_entropy_{np.dtype(dtype).name}")(
        logits=logits.ctypes.data,
        targets=words.ctypes.data,
        rows=9,
        columns=103,
        losses=losses.ctypes.data,
        gradient=logits.ctypes.data,
        short_gradient=False,
        threads=threads,
        instruction_set=-1,
    )
    close(losses.astype(dtype), -np.log(softmax[np.arange(9), words]), "cross entropy")
    close(logits, softmax - np.eye(103)[words], "cross entropy, gradient")


def check_packing(native: Any, threads: int) -> None:
    """Ragged rows to a padded batch, byte for byte."""
    values, offsets, index = (
        np.arange(40, dtype=np.float32).reshape(10, 4),
        np.array([0, 3, 3, 10]),
        np.array([2, 0, 1]),
    )
    out, fill = np.empty((3, 7, 4), np.float32), np.array([-1], np.float32)
    truth = np.full_like(out, -1)
    truth[0], truth[1, :3] = values[3:], values[:3]
    native.pack_ragged(
        values.ctypes.data,
        offsets.ctypes.data,
        index.ctypes.data,
        3,
        7,
        16,
        fill.ctypes.data,
        4,
        out.ctypes.data,
        threads,
    )
    assert (out == truth).all(), "pack_ragged"


def main(folder: str, threads: str = "1") -> None:
    """Runs every check and says where."""
    native, count = extension(folder), int(threads)
    for dtype in (np.float32, np.float64):
        for slots in (1, 6):
            check_attention(native, dtype, slots, count)
        check_linear(native, dtype, count)
        check_cross_entropy(native, dtype, count)
    check_packing(native, count)
    print(f"The kernels agree with NumPy on {platform.machine()}: {native.build_info()['compiler']}, {threads} threads")


if __name__ == "__main__":
    main(*sys.argv[1:])
