"""Gradient of the queries and of one row of weights: every tanh is recomputed and summed over the keys."""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.gradient_sums import gradient_sums, tile_sums
from m2t_fast.kernels.tanh import LARGEST, SMALLEST


@triton.jit(do_not_specialize=["T", "L"])
def query_gradient(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, p_g, p_length, p_dq, p_dw, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, GROUPS: tl.constexpr, BLOCK_D: tl.constexpr, SHORT: tl.constexpr,
):  # fmt: skip
    """Program (b and word tile, chunk of D): d_query (B, L, D), and its share of d_weight (programs, D) float32.

    p_g: the scores' gradients (B, tiles, T * S, GROUPS * BLOCK_L) float32, 0 for words behind the last. R is 1.
    """
    tiles = tl.cdiv(L, GROUPS * BLOCK_L)
    program = tl.program_id(0).to(tl.int64)
    b = program // tiles
    first = program % tiles * (GROUPS * BLOCK_L)
    left = L - first
    o_d = tl.program_id(1) * (2 * BLOCK_D) + tl.arange(0, 2 * BLOCK_D)
    count = tl.minimum(tl.load(p_length + b), T).to(tl.int32) * S
    p_k += b * T * S * D
    step_g: tl.constexpr = GROUPS * BLOCK_L
    p_g += program * T * (S * step_g)
    at = (b * L + first) * D
    sums = gradient_sums(p_q + at, left, p_k, p_g, step_g, o_d, count, D, BLOCK_L, GROUPS, BLOCK_D, SHORT, not SHORT)
    if (sums[0] > LARGEST) | ((not SHORT) & (sums[0] <= SMALLEST)):
        sums = tile_sums(
            p_q + at, left, p_k, p_g, step_g, o_d, count, D, BLOCK_L, GROUPS, GROUPS, BLOCK_D, SHORT, not SHORT, True
        )
    tl.store(p_dw + program * D + o_d, -2.0 * tl.sum(sums[2], axis=0), mask=o_d < D)
    b_w = 4.0 * tl.load(p_w + o_d, mask=o_d < D, other=0.0).to(tl.float32)
    for j in tl.static_range(GROUPS):
        o_l = j * BLOCK_L + tl.arange(0, BLOCK_L)[:, None]
        b_dq = (sums[1][j] * b_w).to(p_dq.dtype.element_ty)
        tl.store(p_dq + at + o_l * D + o_d, b_dq, mask=(o_l < left) & (o_d < D))
