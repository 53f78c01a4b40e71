"""Gradient of the queries and of one row of weights: every tanh is made again and summed over the keys.

A program owns GROUPS of BLOCK_L words, which share the exponentials of a key, so that those and the loads around them
are spread over up to 24 words. Where fewer words are left, it makes a third or two thirds of its groups. Dimensions d
and d + 1 share a reciprocal. With u, minus half of tanh, the slope of tanh is 4 (1/4 - u u) and the gradient of a
weight the sum of -2 g u: the factors wait until the end. What is too large for that, the whole program does again, one
tanh at a time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.tanh import LARGEST, SMALLEST, halves_of, met, ready


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
    o_l = first + tl.arange(0, BLOCK_L)
    o_d = tl.program_id(1) * (2 * BLOCK_D) + tl.arange(0, 2 * BLOCK_D)
    count = tl.minimum(tl.load(p_length + b), T).to(tl.int32) * S
    p_k += b * T * S * D
    p_g += program * T * (S * GROUPS * BLOCK_L) + tl.arange(0, BLOCK_L)
    at = ((b * L + o_l) * D)[:, None] + o_d
    b_q = ()
    largest = 0.0
    for j in tl.static_range(GROUPS):
        mask = (o_l + j * BLOCK_L < L)[:, None] & (o_d < D)
        b_query = tl.load(p_q + at + j * BLOCK_L * D, mask=mask, other=0.0).to(tl.float32)  # [BLOCK_L, 2 * BLOCK_D]
        largest = tl.maximum(largest, tl.max(tl.max(tl.abs(b_query), axis=1), axis=0))
        b_q = b_q + (b_query,)  # type: ignore[assignment]
    third: tl.constexpr = tl.cdiv(GROUPS, 3)
    left = L - first
    if GROUPS < 3:
        sums = query_sums(p_k, p_g, b_q, o_d, count, D, BLOCK_L, GROUPS, GROUPS, BLOCK_D, SHORT, False)
    elif left <= third * BLOCK_L:
        sums = query_sums(p_k, p_g, b_q, o_d, count, D, BLOCK_L, GROUPS, third, BLOCK_D, SHORT, False)
    elif left <= 2 * third * BLOCK_L:
        sums = query_sums(p_k, p_g, b_q, o_d, count, D, BLOCK_L, GROUPS, 2 * third, BLOCK_D, SHORT, False)
    else:
        sums = query_sums(p_k, p_g, b_q, o_d, count, D, BLOCK_L, GROUPS, GROUPS, BLOCK_D, SHORT, False)
    all_largest = tl.maximum(largest, sums[0])
    if (all_largest > LARGEST) | ((not SHORT) & (all_largest <= SMALLEST)):
        sums = query_sums(p_k, p_g, b_q, o_d, count, D, BLOCK_L, GROUPS, GROUPS, BLOCK_D, SHORT, True)
    _, b_dq, b_dw = sums
    tl.store(p_dw + program * D + o_d, -2.0 * tl.sum(b_dw, axis=0), mask=o_d < D)
    b_w = 4.0 * tl.load(p_w + o_d, mask=o_d < D, other=0.0).to(tl.float32)
    for j in tl.static_range(GROUPS):
        mask = (o_l + j * BLOCK_L < L)[:, None] & (o_d < D)
        tl.store(p_dq + at + j * BLOCK_L * D, (b_dq[j] * b_w).to(p_dq.dtype.element_ty), mask=mask)


@triton.jit
def query_sums(  # type: ignore[no-untyped-def]
    p_k, p_g, b_query, o_d, count, D: tl.constexpr,
    BLOCK_L: tl.constexpr, GROUPS: tl.constexpr, USED: tl.constexpr, BLOCK_D: tl.constexpr,
    SHORT: tl.constexpr, SAFE: tl.constexpr,
):  # fmt: skip
    """The largest key; for each group of words the sum over the keys of g times the slope / 4; that of g u.

    The sums are [BLOCK_L, 2 * BLOCK_D], the last one over all groups. Those of groups behind the first USED are 0.
    """
    b_zero = tl.zeros([BLOCK_L, BLOCK_D], tl.float32)
    b_q, b_dq = (), ()  # b_dq: even and odd dimensions of each group
    for j in tl.static_range(USED):
        b_q = b_q + (ready(b_query[j], SAFE, SHORT),)  # type: ignore[assignment]
        b_dq = b_dq + (b_zero, b_zero)  # type: ignore[assignment]
    b_dw0, b_dw1 = b_zero, b_zero
    b_largest = tl.zeros([2 * BLOCK_D], tl.float32)
    for _ in tl.range(0, count, loop_unroll_factor=1 if SAFE else 2):
        if D % (2 * BLOCK_D) == 0:
            b_k = tl.load(p_k + o_d).to(tl.float32)  # [2 * BLOCK_D]
        else:
            b_k = tl.load(p_k + o_d, mask=o_d < D, other=0.0).to(tl.float32)
        b_largest = tl.maximum(b_largest, tl.abs(b_k))
        b_k = ready(b_k, SAFE, SHORT)
        made = ()
        for j in tl.static_range(USED):
            b_x = tl.reshape(met(b_k[None, :], b_q[j], SAFE), [BLOCK_L, BLOCK_D, 2])
            b_x0, b_x1 = tl.split(b_x)
            b_u0, b_u1 = halves_of(b_x0, b_x1, SAFE, not SHORT)  # [BLOCK_L, BLOCK_D]
            b_g = tl.load(p_g + j * BLOCK_L)[:, None]  # [BLOCK_L, 1]
            made = made + (  # type: ignore[assignment]
                tl.fma(b_g, tl.fma(-b_u0, b_u0, 0.25), b_dq[2 * j]),
                tl.fma(b_g, tl.fma(-b_u1, b_u1, 0.25), b_dq[2 * j + 1]),
            )
            b_dw0, b_dw1 = tl.fma(b_g, b_u0, b_dw0), tl.fma(b_g, b_u1, b_dw1)
        b_dq = made
        p_k += D
        p_g += GROUPS * BLOCK_L
    joined = ()
    for j in tl.static_range(USED):
        joined = joined + (tl.reshape(tl.join(b_dq[2 * j], b_dq[2 * j + 1]), [BLOCK_L, 2 * BLOCK_D]),)  # type: ignore[assignment]
    for _ in tl.static_range(GROUPS - USED):
        joined = joined + (tl.zeros([BLOCK_L, 2 * BLOCK_D], tl.float32),)  # type: ignore[assignment]
    b_dw = tl.reshape(tl.join(b_dw0, b_dw1), [BLOCK_L, 2 * BLOCK_D])
    return tl.max(b_largest, axis=0), joined, b_dw
