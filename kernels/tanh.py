"""Every tanh of the kernels: one at a time, and two from one reciprocal.

Scores and their gradients compute tanh(key + query) by the million, and the special-function unit is their bottleneck.
The exponentials of keys and queries are computed once each; their product e gives 1 / (e + 1), half of 1 - tanh(key +
query), and two of these come from one reciprocal: 1 / x and 1 / y are y and x times 1 / (x y). The error is absolute,
at most 5.7e-7 of a tanh with exponentials within two units of the last place (4.6e-7 was found), 4.8e-7 (3.8e-7) with a
step of Newton's: it serves keys and queries up to LARGEST, and in float32 rows of weights whose squares sum to
MOST_SQUARES at most. The same numbers as in csrc/cuda/tanh.h.
"""

from __future__ import annotations

import os

import triton
import triton.language as tl
from triton.language import core

LARGEST = tl.constexpr(11.0)
"""Of |key| and |query|: the product of two denominators, exp(2 * (11 + 11)) + 1 each, stays below float32's largest."""
SMALLEST = tl.constexpr(0.0625)
"""Where no key and no query exceeds this, tanh is as small, and the absolute error of pairs too large for float32."""
MOST_SQUARES = tl.constexpr(16.0)
"""Of the sum of squares of a row of float32 weights in a softmax."""


if os.environ.get("TRITON_INTERPRET") == "1":  # the interpreter knows no device functions

    @triton.jit
    def reciprocal(x):  # type: ignore[no-untyped-def]
        """1 / x."""
        return 1.0 / x

    @triton.jit
    def exp_of_twice(x, SHORT: tl.constexpr):  # type: ignore[no-untyped-def]
        """exp(2x)."""
        return tl.exp(2.0 * x)

else:

    @core.extern
    def reciprocal(x, _semantic=None):  # type: ignore[no-untyped-def]
        """The hardware's 1 / x, wrong by a unit of the last place at most.

        An intrinsic of LLVM's for either target: Triton's own division multiplies once more.
        """
        name = (
            "llvm.amdgcn.rcp.f32" if _semantic.builder.options.backend_name == "hip" else "llvm.nvvm.rcp.approx.ftz.f"
        )
        names = {(core.dtype("fp32"),): (name, core.dtype("fp32"))}
        return core.extern_elementwise("", "", [x], names, is_pure=True, _semantic=_semantic)

    @triton.jit
    def exp_of_twice(x, SHORT: tl.constexpr):  # type: ignore[no-untyped-def]
        """exp(2x) from the hardware's power of 2; unless SHORT, with what rounding 2x / ln(2) left."""
        power = x * 2.8853900817779268
        y = tl.exp2(power)
        if not SHORT:
            rest = tl.fma(x, 3.8519259822e-8, tl.fma(x, 2.8853900817779268, -power))
            y = tl.fma(y * 0.6931471805599453, rest, y)
        return y


@triton.jit
def tanh(x):  # type: ignore[no-untyped-def]
    """tanh of float32 numbers; NaN stays NaN.

    A polynomial below 1, where 1 - 2 / (exp(2x) + 1) would cancel, and that form above.
    """
    magnitude = tl.abs(x)
    square = x * x
    # Fitted to the smallest largest relative error, 0.08 units of the last place before rounding.
    series = square * -0.0003584519727155566 + 0.0023013646714389324
    series = square * series - 0.007946106605231762
    series = square * series + 0.021486658602952957
    series = square * series - 0.05387980118393898
    series = square * series + 0.13332344591617584
    series = square * series - 0.33333295583724976
    small = x + x * (square * series)
    large = 1.0 - 2.0 / (tl.exp(2.0 * magnitude) + 1.0)  # 1 where the exponential overflows
    return tl.where(magnitude < 1.0, small, tl.where(x < 0, -large, large))


@triton.jit
def ready(x, SAFE: tl.constexpr, SHORT: tl.constexpr):  # type: ignore[no-untyped-def]
    """What ``halves`` takes of keys or queries: their exponentials, or with SAFE themselves."""
    if SAFE:
        made = x
    else:
        made = exp_of_twice(x, SHORT)
    return made


@triton.jit
def halves(k0, q0, k1, q1, SAFE: tl.constexpr, REFINED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Minus half of tanh(k0 + q0) and of tanh(k1 + q1), from what ``ready`` made of all four."""
    return halves_of(met(k0, q0, SAFE), met(k1, q1, SAFE), SAFE, REFINED)


@triton.jit
def met(k, q, SAFE: tl.constexpr):  # type: ignore[no-untyped-def]
    """What ``halves_of`` takes of a key and a query that are ``ready``: exp(2(k + q)) + 1, or with SAFE their sum."""
    if SAFE:
        made = k + q
    else:
        made = tl.fma(k, q, 1.0)
    return made


@triton.jit
def halves_of(x, y, SAFE: tl.constexpr, REFINED: tl.constexpr):  # type: ignore[no-untyped-def]
    """Minus half of two tanh, from what ``met`` made of their keys and queries.

    REFINED takes a step of Newton's more: for sums of tanh themselves, whose terms may be small.
    """
    if SAFE:
        first, second = -0.5 * tanh(x), -0.5 * tanh(y)
    else:
        product = x * y
        r = reciprocal(product)
        if REFINED:
            r = tl.fma(r, tl.fma(-product, r, 1.0), r)
        first, second = tl.fma(r, y, -0.5), tl.fma(r, x, -0.5)
    return first, second
