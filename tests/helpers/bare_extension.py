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
from types import SimpleNamespace
from typing import Any

import numpy as np

TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def module_of(name: str, file: Path) -> Any:
    """A module by its file, whatever else lies beside it."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Extension:
    """`_native` of a folder, called as m2t_fast/extension.py calls it: with NumPy's arrays for tensors."""

    def __init__(self, folder: str, threads: int) -> None:
        names = ("float32", "float64", "int64", "bool")
        dtypes: dict[str, Any] = {name: np.dtype(name) for name in names} | {"bfloat16": np.dtype(np.uint16)}
        sys.modules["torch"] = SimpleNamespace(Tensor=np.ndarray, dtype=np.dtype, **dtypes)  # type: ignore[assignment]
        root = Path(__file__).resolve().parents[2]
        self.bindings = module_of("extension", root / "m2t_fast" / "extension.py")
        self.native, self.threads = native_of(folder), threads

    def __call__(self, name: str, dtype: Any = None, **given: Any) -> None:
        """Runs a kernel for arrays of a dtype."""
        if dtype is not None:
            given["instruction_set"] = -1
        known = None if dtype is None else np.dtype(dtype)
        self.bindings.kernel(self.native, name, known, lambda x: x.ctypes.data)(threads=self.threads, **given)


def native_of(folder: str) -> Any:
    """The extension, with the system's OpenMP runtime made global if there is one (m2t_fast/native.py)."""
    with contextlib.suppress(OSError):  # the import says which symbol it lacks
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
    (file,) = Path(folder).glob("_native*.so")
    return module_of("_native", file)


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


NAMES = (
    *("parts", "temporal_keys", "spatial_keys", "temporal_query", "spatial_query"),
    *("temporal_weight", "spatial_weight", "spatial_bias"),
)


def check_attention(run: Extension, dtype: Any, slots: int) -> None:
    """Values against NumPy; the gradient against a difference quotient along one direction (float64)."""
    rng = np.random.default_rng(slots)
    B, T, L, P, H, D = 3, 11, 5, 6, 14, 13
    shapes = [(B, T, P, H), (B, T, slots, D), (B, T, slots, D), (B, L, D), (B, L, D), (D,), (P // slots, D)]
    inputs = [rng.normal(size=shape).astype(dtype) for shape in (*shapes, (P // slots,))]
    lengths = np.array([T, 4, 1], dtype=np.int64)
    sizes = {"batch": B, "frames": T, "words": L, "parts": P, "slots": slots, "part_dim": H, "attention_dim": D}
    results = ("context", "window", "spatial", "mean", "std", "gamma")

    def record(values: list[np.ndarray]) -> dict[str, Any]:
        return dict(zip(NAMES, values, strict=True)) | {"lengths": lengths, "scale": 1.0, "sigma_min": 1e-3}

    def forward(values: list[np.ndarray]) -> list[np.ndarray]:
        out = [np.empty(s, dtype) for s in ((B, L, H), (B, L, T), (B, L, T, P), (B, L), (B, L), (B, L, T, slots))]
        outputs = dict(zip(results, out, strict=True))
        run("attention_forward", dtype, sizes=sizes, inputs=record(values), outputs=outputs)
        return out

    out = forward(inputs)
    for ours, truth, name in zip(out, attention(inputs, lengths), results, strict=False):
        close(ours, truth, f"attention {name}, S={slots}")
    if dtype is not np.float64:
        return
    grads = [rng.normal(size=x.shape) for x in out[:5]]
    made, directions = [np.empty_like(x) for x in inputs], [rng.normal(size=x.shape) for x in inputs]
    run(
        "attention_backward",
        dtype,
        sizes=sizes,
        inputs=record(inputs),
        kept={"spatial": out[2], "gamma": out[5]},
        grads=dict(zip(results, grads, strict=False)),
        outputs=dict(zip(NAMES, made, strict=True)),
    )
    step = 1e-6
    ahead, behind = (
        forward([x + sign * step * d for x, d in zip(inputs, directions, strict=True)]) for sign in (1, -1)
    )
    quotient = sum(((a - b) * g).sum() for a, b, g in zip(ahead, behind, grads, strict=False)) / (2 * step)
    derivative = sum((x * d).sum() for x, d in zip(made, directions, strict=True))
    assert abs(derivative - quotient) < 1e-6 * abs(quotient), f"attention gradient, S={slots}: {derivative} {quotient}"


def check_linear(run: Extension, dtype: Any) -> None:
    """tanh(x W^T + b) and the gradients of x, W and b."""
    rng = np.random.default_rng(1)
    count, sizes = 301, {"inputs": 37, "outputs": 29}
    inputs, outputs = sizes.values()
    x, weight, bias, grad = (
        rng.normal(size=s).astype(dtype) for s in ((count, inputs), (outputs, inputs), (outputs,), (count, outputs))
    )
    y, d_x, d_weight, d_bias = (np.empty(s, dtype) for s in ((count, outputs), x.shape, weight.shape, bias.shape))
    rows = {"batch": 1, "frames": count, "per_frame": 1, "lengths": None}
    layer = {"x": x, "weight": weight, "bias": bias, "y": y, "wide": None, **sizes}
    run("linear_forward", dtype, rows=rows, layers=[layer], tanh=True)
    close(y, np.tanh(x.astype(float) @ weight.astype(float).T + bias), "linear")
    term = {"grad": grad, "weight": weight, "outputs": outputs}
    run("linear_input_gradient", dtype, rows=rows, terms=[term], result={"d_x": d_x, "inputs": inputs})
    close(d_x, grad.astype(float) @ weight, "linear, gradient of x")
    gradient = {"grad": grad, "x": x, "d_weight": d_weight, "d_bias": d_bias, **sizes}
    run("linear_weight_gradient", dtype, rows=rows, layers=[gradient])
    close(d_weight, grad.astype(float).T @ x, "linear, gradient of W")
    close(d_bias, grad.astype(float).sum(0), "linear, gradient of b")


def check_cross_entropy(run: Extension, dtype: Any) -> None:
    """Losses of rows, and softmax minus one at the word in the logits' place."""
    rng = np.random.default_rng(2)
    logits = (3 * rng.normal(size=(9, 103))).astype(dtype)
    words, losses, truth = rng.integers(0, 103, 9), np.empty(9), logits.astype(float)
    softmax = np.exp(truth - truth.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    task = {"logits": logits, "targets": words, "rows": 9, "columns": 103, "losses": losses}
    run("cross_entropy", dtype, task=task | {"gradient": logits, "short_gradient": None})
    close(losses.astype(dtype), -np.log(softmax[np.arange(9), words]), "cross entropy")
    close(logits, softmax - np.eye(103)[words], "cross entropy, gradient")


def check_packing(run: Extension) -> None:
    """Ragged rows to a padded batch, byte for byte."""
    values = np.arange(40, dtype=np.float32).reshape(10, 4)
    offsets, index = np.array([0, 3, 3, 10]), np.array([2, 0, 1])
    out, fill = np.empty((3, 7, 4), np.float32), np.array([-1], np.float32)
    truth = np.full_like(out, -1)
    truth[0], truth[1, :3] = values[3:], values[:3]
    task = {"values": values, "offsets": offsets, "index": index, "fill": fill, "out": out}
    run("pack_ragged", task=task | {"count": 3, "width": 7, "row_bytes": 16, "item_bytes": 4})
    assert (out == truth).all(), "pack_ragged"


def main(folder: str, threads: str = "1") -> None:
    """Runs every check and says where."""
    run = Extension(folder, int(threads))
    for dtype in (np.float32, np.float64):
        for slots in (1, 6):
            check_attention(run, dtype, slots)
        check_linear(run, dtype)
        check_cross_entropy(run, dtype)
    check_packing(run)
    compiler = run.native.build_info()["compiler"]
    print(f"The kernels agree with NumPy on {platform.machine()}: {compiler}, {threads} threads")


if __name__ == "__main__":
    main(*sys.argv[1:])
