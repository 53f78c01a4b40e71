"""Linear layers of the ``cpu`` backend, forward and backward: one function for every product of valid rows.

Which product runs is a property of the processor and the dtype alone, so that two runs have equal bits:

| processor | float32, float64 | bfloat16 |
| --- | --- | --- |
| AVX512_BF16, no AMX | ``packed`` | ``packed``, in bfloat16 |
| AMX | ``packed`` | ``torch``: oneDNN's tiles |
| AVX2 or AVX-512 | ``packed`` | ``packed``, in float32 |
| any other | ``torch`` | ``torch``, in float32 |

``packed`` is the extension's own (``csrc/cpu/linear_kernel.h``): one call for all motions, bias and tanh folded in.
``torch`` multiplies motion by motion with what torch was built with, MKL or oneDNN.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from m2t_fast import native
from m2t_fast.ops.cpu import launch
from m2t_fast.ops.cpu.launch import empty, run


class Rows(NamedTuple):
    """The rows of a layer's input: (B, T, n, inputs), of which a motion's valid frames are multiplied."""

    batch: int
    frames: int
    per_frame: int
    lengths: Tensor | None = None
    """(B,) int64, contiguous; None: every row is valid."""


def all_rows(x: Tensor) -> Rows:
    """Of x (..., inputs), every row."""
    return Rows(1, x.numel() // max(1, x.shape[-1]), 1)


def product_of(dtype: torch.dtype) -> str:
    """``packed`` or ``torch``: what multiplies tensors of this dtype here."""
    return _product_of(dtype, launch.instruction_set)


@functools.cache
def _product_of(dtype: torch.dtype, instruction_set: str) -> str:
    features = native.build_info()["cpu"]
    if dtype == torch.bfloat16 and instruction_set == "best" and "amxbf16" in features:
        return "torch"
    return "packed" if instruction_set != "best" or "avx2" in features else "torch"


def arithmetic(dtype: torch.dtype, inputs: Sequence[int] = ()) -> torch.dtype:
    """The dtype in which layers with this number of inputs multiply tensors of ``dtype``.

    bfloat16 where the processor has its products (an even number of terms, which it takes in pairs), float64 for
    float64, else float32. Sums are in float32 at least.
    """
    if dtype == torch.bfloat16 and multiplies_bfloat16() and all(n % 2 == 0 for n in inputs):
        return dtype
    return torch.float64 if dtype == torch.float64 else torch.float32


def multiplies_bfloat16() -> bool:
    """Whether bfloat16 is multiplied as it is stored: with AVX512_BF16 or AMX, unless other kernels were asked for."""
    return launch.instruction_set == "best" and native._native.has_bfloat16_products()


def as_computed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor as the products take it: contiguous, in the dtype of :func:`arithmetic`."""
    return x.to(dtype).contiguous()


def linear(
    x: Tensor,
    layers: Sequence[tuple[Tensor, Tensor | None]],
    rows: Rows | None = None,
    tanh: bool = False,
    wide: bool = False,
) -> list[Tensor]:
    """x W^T + bias, or its tanh, of every layer.

    Args:
        x: (..., inputs), as :func:`as_computed` gives it.
        layers: (weight (outputs, inputs), bias (outputs,) or None), in the dtype of ``x``.
        rows: which rows are valid; None: all. Results are 0 elsewhere.
        wide: give the sums as they are, not rounded to bfloat16.

    Returns:
        For every layer (rows, outputs), in the dtype of ``x``, or with ``wide`` float32 at least.
    """
    rows = rows or all_rows(x)
    inputs, count = x.shape[-1], rows.batch * rows.frames * rows.per_frame
    like = x.new_empty(0, dtype=torch.promote_types(x.dtype, torch.float32)) if wide else x
    outputs = [empty((count, weight.shape[0]), like) for weight, _ in layers]
    if product_of(x.dtype) == "torch":
        for valid, padding in _ranges(rows):
            for y, (weight, bias) in zip(outputs, layers, strict=True):
                y[valid] = torch.nn.functional.linear(x.view(count, inputs)[valid], weight, bias)
                y[padding] = 0
        return [y.tanh_() for y in outputs] if tanh else outputs
    made = [
        dict(
            x=x,
            weight=weight,
            bias=bias,
            y=None if wide else y,
            wide=y if wide else None,
            inputs=inputs,
            outputs=weight.shape[0],
        )
        for (weight, bias), y in zip(layers, outputs, strict=True)
    ]
    run("linear_forward", x.dtype, rows=rows, layers=made, tanh=tanh)
    return outputs


def input_gradient(grads: Sequence[Tensor], weights: Sequence[Tensor], rows: Rows | None = None) -> Tensor:
    """The gradient (rows, inputs) of the input of one or two layers, the sum of grad (rows, outputs) times weight."""
    rows = rows or all_rows(grads[0])
    inputs, count = weights[0].shape[1], rows.batch * rows.frames * rows.per_frame
    d_x = empty((count, inputs), grads[0])
    if product_of(d_x.dtype) == "torch":
        for valid, padding in _ranges(rows):
            d_x[valid] = sum(grad[valid] @ weight for grad, weight in zip(grads, weights, strict=True))
            d_x[padding] = 0
        return d_x
    terms = [
        dict(grad=grad, weight=weight, outputs=weight.shape[0]) for grad, weight in zip(grads, weights, strict=True)
    ]
    run("linear_input_gradient", d_x.dtype, rows=rows, terms=terms, result=dict(d_x=d_x, inputs=inputs))
    return d_x


def weight_gradients(pairs: Sequence[tuple[Tensor, Tensor]], rows: Rows | None = None) -> list[tuple[Tensor, Tensor]]:
    """(d_weight (outputs, inputs), d_bias (outputs,)) of every layer, from its (grad, x) over the same rows.

    Sums over the rows are cut and added in an order that the sizes alone decide.
    """
    rows = rows or all_rows(pairs[0][0])
    if product_of(pairs[0][0].dtype) == "torch":
        return [_weight_gradient(grad, x, rows) for grad, x in pairs]
    results = [(x.new_empty(grad.shape[-1], x.shape[-1]), x.new_empty(grad.shape[-1])) for grad, x in pairs]
    layers = [
        dict(grad=grad, x=x, d_weight=d_weight, d_bias=d_bias, inputs=x.shape[-1], outputs=grad.shape[-1])
        for (grad, x), (d_weight, d_bias) in zip(pairs, results, strict=True)
    ]
    run("linear_weight_gradient", pairs[0][0].dtype, rows=rows, layers=layers)
    return results


def _weight_gradient(grad: Tensor, x: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    """By torch; sums over motions in float32 at least."""
    wide = torch.promote_types(x.dtype, torch.float32)
    weight, bias = x.new_zeros(grad.shape[-1], x.shape[-1], dtype=wide), x.new_zeros(grad.shape[-1], dtype=wide)
    for valid, _ in _ranges(rows):
        weight += grad[valid].T @ x[valid]
        bias += grad[valid].sum(0, dtype=wide)
    return weight.to(x.dtype), bias.to(x.dtype)


def _ranges(rows: Rows) -> Iterator[tuple[slice, slice]]:
    """The valid rows of every motion, and those beyond its length."""
    each = rows.frames * rows.per_frame
    lengths = [rows.frames] * rows.batch if rows.lengths is None else rows.lengths.tolist()
    for b, length in enumerate(lengths):
        end = b * each + min(max(length, 0), rows.frames) * rows.per_frame
        yield slice(b * each, end), slice(end, (b + 1) * each)
