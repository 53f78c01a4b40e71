"""Gradient of the keys with one row of weights: every tanh is recomputed and summed over the words."""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.gradient_sums import gradient_sums, tile_sums
from m2t_fast.kernels.tanh import LARGEST


@triton.jit(do_not_specialize=["T", "L"])
def key_gradient(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, p_g, p_length, p_dk, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_N: tl.constexpr, GROUPS: tl.constexpr, BLOCK_D: tl.constexpr, SHORT: tl.constexpr,
):  # fmt: skip
    """Program (b and key tile, chunk of D): d_keys (B, T, S, D), 0 in the padding.

    p_g: the scores' gradients (B, L, tiles * GROUPS * BLOCK_N) float32; what is behind a motion's keys is not used. R
    is 1.
    """
    tiles = tl.cdiv(T * S, GROUPS * BLOCK_N)
    program = tl.program_id(0).to(tl.int64)
    b = program // tiles
    first = program % tiles * (GROUPS * BLOCK_N)
    o_d = tl.program_id(1) * (2 * BLOCK_D) + tl.arange(0, 2 * BLOCK_D)
    count = tl.minimum(tl.load(p_length + b), T) * S
    step_g = tiles * (GROUPS * BLOCK_N)
    p_q += b * L * D
    p_g += b * L * step_g.to(tl.int64) + first
    at = (b * T * S + first) * D
    left = count - first
    words = tl.where(left > 0, L, 0)
    sums = gradient_sums(p_k + at, left, p_q, p_g, step_g, o_d, words, D, BLOCK_N, GROUPS, BLOCK_D, SHORT, False)
    if sums[0] > LARGEST:
        sums = tile_sums(
            p_k + at, left, p_q, p_g, step_g, o_d, words, D, BLOCK_N, GROUPS, GROUPS, BLOCK_D, SHORT, False, True
        )
    b_w = 4.0 * tl.load(p_w + o_d, mask=o_d < D, other=0.0).to(tl.float32)
    for j in tl.static_range(GROUPS):
        o_n = j * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
        b_dk = tl.where(o_n < left, sums[1][j] * b_w, 0.0)
        mask = (first + o_n < T * S) & (o_d < D)
        tl.store(p_dk + at + o_n * D + o_d, b_dk.to(p_dk.dtype.element_ty), mask=mask)
