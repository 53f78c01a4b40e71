"""Scores of eq. 2 and 5: w . tanh(key + query) for tiles of words and keys, summed elementwise and reduced once."""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.tanh import LARGEST, MOST_SQUARES, SMALLEST, halves, ready, reciprocal, tanh


@triton.jit(do_not_specialize=["T", "L"])
def score_tiles(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, p_length, p_score, p_rest, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, SHORT: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Program (b, word tile, key tile): scores of one row of weights into p_score (B, L, T * S); no padding is written.

    p_k: keys (B, T, S, D); p_q: queries (B, L, D); p_w: weights (D,). SHORT: the tensors are in bfloat16. With EXACT
    the sums are without rounding, and p_rest takes what is to be added to them: the last bit of a large score is an
    error of its softmax. A bound of all sums, added first, makes every sum take from a term a multiple of one small
    unit, which float32 adds exactly, and what is left of the term goes to the rest.
    """
    b, o_l, o_n, count, first_n = tile(p_length, T, L, S, BLOCK_L, BLOCK_N)
    if first_n < count:
        k_rows, q_rows, at, m_at = rows_of(p_k, p_q, b, o_l, o_n, count, T, L, S, D)
        b_score, b_rest = one_row(k_rows, q_rows, p_w, D, BLOCK_L, BLOCK_N, BLOCK_D, SHORT, EXACT)
        tl.store(p_score + at, b_score, mask=m_at)
        if EXACT:
            tl.store(p_rest + at, b_rest, mask=m_at)


@triton.jit(do_not_specialize=["T", "L"])
def score_rows(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, p_length, p_score, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr, SHORT: tl.constexpr,
    MATRIX: tl.constexpr,
):  # fmt: skip
    """As ``score_tiles``, for several rows of weights p_w (R, D), into p_score (B, L, T * S, R).

    Rows share a tanh: all of them with MATRIX, on the matrix units, for bfloat16 (SHORT) and float16; three otherwise,
    program_id(1) counts the threes.
    """
    b, o_l, o_n, count, first_n = tile(p_length, T, L, S, BLOCK_L, BLOCK_N)
    if first_n < count:
        k_rows, q_rows, at, m_at = rows_of(p_k, p_q, b, o_l, o_n, count, T, L, S, D)
        if MATRIX:
            b_scores, largest = matrix_rows(k_rows, q_rows, p_w, R, D, BLOCK_L, BLOCK_N, BLOCK_D, BLOCK_R, False, SHORT)
            plain = largest > LARGEST
            if not SHORT:
                plain |= largest <= SMALLEST
            if plain:
                b_scores, _ = matrix_rows(k_rows, q_rows, p_w, R, D, BLOCK_L, BLOCK_N, BLOCK_D, BLOCK_R, True, SHORT)
            o_r = tl.arange(0, BLOCK_R)
            tl.store(p_score + at[:, :, None] * R + o_r, b_scores, mask=m_at[:, :, None] & (o_r < R))
        else:
            first_r = tl.program_id(1) * 3
            sums = three_rows(k_rows, q_rows, p_w, first_r, R, D, BLOCK_L, BLOCK_N, BLOCK_D, False)
            if sums[0] > 1.0:
                sums = three_rows(k_rows, q_rows, p_w, first_r, R, D, BLOCK_L, BLOCK_N, BLOCK_D, True)
            for i in tl.static_range(3):
                m_r = (o_n < tl.where(first_r + i < R, count, 0))[None, :]
                tl.store(p_score + at * R + first_r + i, sums[i + 1], mask=m_at & m_r)


@triton.jit
def tile(p_length, T, L, S: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_N: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program's motion, words [BLOCK_L] and keys [BLOCK_N], how many keys count, and the first key."""
    word_tiles, key_tiles = tl.cdiv(L, BLOCK_L), tl.cdiv(T * S, BLOCK_N)
    program = tl.program_id(0)
    b = (program // (word_tiles * key_tiles)).to(tl.int64)
    o_l = (program // key_tiles % word_tiles).to(tl.int64) * BLOCK_L + tl.arange(0, BLOCK_L)
    first_n = (program % key_tiles).to(tl.int64) * BLOCK_N
    count = tl.minimum(tl.load(p_length + b), T) * S
    return b, o_l, first_n + tl.arange(0, BLOCK_N), count, first_n


@triton.jit
def rows_of(p_k, p_q, b, o_l, o_n, count, T, L, S: tl.constexpr, D: tl.constexpr):  # type: ignore[no-untyped-def]
    """Rows of keys [BLOCK_N, 1] and queries [BLOCK_L, 1], where scores go [BLOCK_L, BLOCK_N], and which are written.

    What lies behind the last word or key is read as the last.
    """
    k_rows = p_k + (b * T * S + tl.minimum(o_n, count - 1))[:, None] * D
    q_rows = p_q + (b * L + tl.minimum(o_l, L - 1))[:, None] * D
    at = ((b * L + o_l) * T)[:, None] * S + o_n
    return k_rows, q_rows, at, (o_l < L)[:, None] & (o_n < count)


@triton.jit
def one_row(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, SHORT: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Scores and their rest [BLOCK_L, BLOCK_N] of rows p_k [BLOCK_N, 1], p_q [BLOCK_L, 1] with weights p_w (D,)."""
    o_d = tl.arange(0, BLOCK_D)
    b_constant = tl.zeros([BLOCK_D], tl.float32)
    b_squares = tl.zeros([BLOCK_D], tl.float32)
    b_magnitude = tl.zeros([BLOCK_D], tl.float32)
    for first in range(0, D, BLOCK_D):
        b_w = tl.load(p_w + first + o_d, mask=first + o_d < D, other=0.0).to(tl.float32)  # [BLOCK_D]
        b_constant += b_w
        b_squares += b_w * b_w
        b_magnitude += tl.abs(b_w)
    bound = 0.0
    if EXACT:
        bound = 8.0 * tl.sum(b_magnitude, axis=0)
    plain = False
    if not SHORT:
        plain = tl.sum(b_squares, axis=0) > MOST_SQUARES

    # w0 tanh + w1 tanh = w0 + w1 - 2 (w0 / x + w1 / y), and w0 / x + w1 / y = (w0 y + w1 x) / (x y).
    b_sum = tl.zeros([BLOCK_L, BLOCK_N, BLOCK_D], tl.float32) + (bound + b_constant)
    b_rest = tl.zeros([BLOCK_L, BLOCK_N, BLOCK_D], tl.float32)
    if EXACT:
        b_rest += (bound - (bound + b_constant)) + b_constant
    k_largest = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    q_largest = tl.zeros([BLOCK_L, BLOCK_D], tl.float32)
    for first in range(0, tl.where(plain, 0, D), 2 * BLOCK_D):
        o_0, o_1, b_k0, b_k1, b_q0, b_q1 = pairs_of(p_k, p_q, first, D, BLOCK_D)
        b_w0 = -2.0 * tl.load(p_w + o_0, mask=o_0 < D, other=0.0).to(tl.float32)  # [BLOCK_D]
        b_w1 = -2.0 * tl.load(p_w + o_1, mask=o_1 < D, other=0.0).to(tl.float32)
        k_largest = tl.maximum(k_largest, tl.maximum(tl.abs(b_k0), tl.abs(b_k1)))
        q_largest = tl.maximum(q_largest, tl.maximum(tl.abs(b_q0), tl.abs(b_q1)))
        b_k0, b_k1 = ready(b_k0, False, SHORT), ready(b_k1, False, SHORT)
        b_q0, b_q1 = ready(b_q0, False, SHORT), ready(b_q1, False, SHORT)
        b_x = tl.fma(b_k0[None, :, :], b_q0[:, None, :], 1.0)  # [BLOCK_L, BLOCK_N, BLOCK_D]
        b_y = tl.fma(b_k1[None, :, :], b_q1[:, None, :], 1.0)
        b_term = tl.fma(b_w0[None, None, :], b_y, b_w1 * b_x)
        b_r = reciprocal(b_x * b_y)
        b_next = tl.fma(b_term, b_r, b_sum)
        if EXACT:
            b_rest += tl.fma(b_term, b_r, b_sum - b_next)
        b_sum = b_next
    largest = tl.maximum(tl.max(tl.max(k_largest, axis=1), axis=0), tl.max(tl.max(q_largest, axis=1), axis=0))
    if not SHORT:
        plain |= largest <= SMALLEST
    if plain | (largest > LARGEST):  # one tanh at a time, in place of what was summed
        b_sum = tl.zeros([BLOCK_L, BLOCK_N, BLOCK_D], tl.float32) + bound
        b_rest = tl.zeros([BLOCK_L, BLOCK_N, BLOCK_D], tl.float32)
        for first in range(0, D, BLOCK_D):
            o_0 = first + o_d
            b_k = tl.load(p_k + o_0, mask=o_0 < D, other=0.0).to(tl.float32)
            b_q = tl.load(p_q + o_0, mask=o_0 < D, other=0.0).to(tl.float32)
            b_w = tl.load(p_w + o_0, mask=o_0 < D, other=0.0).to(tl.float32)
            b_tanh = tanh(b_k[None, :, :] + b_q[:, None, :])
            b_next = tl.fma(b_tanh, b_w[None, None, :], b_sum)
            if EXACT:
                b_rest += tl.fma(b_tanh, b_w[None, None, :], b_sum - b_next)
            b_sum = b_next
    return tl.sum(b_sum - bound, axis=2), tl.sum(b_rest, axis=2)


@triton.jit
def pairs_of(p_k, p_q, first, D: tl.constexpr, BLOCK_D: tl.constexpr):  # type: ignore[no-untyped-def]
    """Two blocks of dimensions of keys [BLOCK_N, BLOCK_D] and of queries [BLOCK_L, BLOCK_D]."""
    o_0, o_1 = first + tl.arange(0, BLOCK_D), first + BLOCK_D + tl.arange(0, BLOCK_D)
    b_k0 = tl.load(p_k + o_0, mask=o_0 < D, other=0.0).to(tl.float32)
    b_k1 = tl.load(p_k + o_1, mask=o_1 < D, other=0.0).to(tl.float32)
    b_q0 = tl.load(p_q + o_0, mask=o_0 < D, other=0.0).to(tl.float32)
    b_q1 = tl.load(p_q + o_1, mask=o_1 < D, other=0.0).to(tl.float32)
    return o_0, o_1, b_k0, b_k1, b_q0, b_q1


@triton.jit
def three_rows(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, first_r, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, SAFE: tl.constexpr,
):  # fmt: skip
    """Above 1 where keys, queries or weights want SAFE; scores [BLOCK_L, BLOCK_N] of three rows."""
    p_w += first_r * D
    b_sum0 = tl.zeros([BLOCK_L, BLOCK_N, BLOCK_D], tl.float32)
    b_sum1 = tl.zeros([BLOCK_L, BLOCK_N, BLOCK_D], tl.float32)
    b_sum2 = tl.zeros([BLOCK_L, BLOCK_N, BLOCK_D], tl.float32)
    k_largest = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    q_largest = tl.zeros([BLOCK_L, BLOCK_D], tl.float32)
    b_squares0 = tl.zeros([BLOCK_D], tl.float32)
    b_squares1 = tl.zeros([BLOCK_D], tl.float32)
    b_squares2 = tl.zeros([BLOCK_D], tl.float32)
    for first in range(0, D, 2 * BLOCK_D):
        o_0, o_1, b_k0, b_k1, b_q0, b_q1 = pairs_of(p_k, p_q, first, D, BLOCK_D)
        k_largest = tl.maximum(k_largest, tl.maximum(tl.abs(b_k0), tl.abs(b_k1)))
        q_largest = tl.maximum(q_largest, tl.maximum(tl.abs(b_q0), tl.abs(b_q1)))
        b_k0, b_k1 = ready(b_k0, SAFE, False), ready(b_k1, SAFE, False)
        b_q0, b_q1 = ready(b_q0, SAFE, False), ready(b_q1, SAFE, False)
        b_0, b_1 = halves(b_k0[None, :, :], b_q0[:, None, :], b_k1[None, :, :], b_q1[:, None, :], SAFE, False)
        b_sum0, b_squares0 = add_row(p_w, R - first_r, o_0, o_1, b_0, b_1, b_sum0, b_squares0, D)
        b_sum1, b_squares1 = add_row(p_w + D, R - first_r - 1, o_0, o_1, b_0, b_1, b_sum1, b_squares1, D)
        b_sum2, b_squares2 = add_row(p_w + 2 * D, R - first_r - 2, o_0, o_1, b_0, b_1, b_sum2, b_squares2, D)
    largest = tl.maximum(tl.max(tl.max(k_largest, axis=1), axis=0), tl.max(tl.max(q_largest, axis=1), axis=0))
    squares = tl.maximum(tl.maximum(tl.sum(b_squares0, axis=0), tl.sum(b_squares1, axis=0)), tl.sum(b_squares2, axis=0))
    excess = tl.maximum(tl.maximum(largest / LARGEST, squares / MOST_SQUARES), tl.where(largest <= SMALLEST, 2.0, 0.0))
    return excess, -2.0 * tl.sum(b_sum0, axis=2), -2.0 * tl.sum(b_sum1, axis=2), -2.0 * tl.sum(b_sum2, axis=2)


@triton.jit
def add_row(p_w, left, o_0, o_1, b_0, b_1, b_sum, b_squares, D: tl.constexpr):  # type: ignore[no-untyped-def]
    """The sums with a row's weights, if it is left, times the halves [BLOCK_L, BLOCK_N, BLOCK_D]; squares [BLOCK_D]."""
    end = tl.where(left > 0, D, 0)
    b_w0 = tl.load(p_w + o_0, mask=o_0 < end, other=0.0).to(tl.float32)
    b_w1 = tl.load(p_w + o_1, mask=o_1 < end, other=0.0).to(tl.float32)
    b_sum = tl.fma(b_1, b_w1[None, None, :], tl.fma(b_0, b_w0[None, None, :], b_sum))
    return b_sum, b_squares + b_w0 * b_w0 + b_w1 * b_w1


@triton.jit
def matrix_rows(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr, SAFE: tl.constexpr,
    SHORT: tl.constexpr,
):  # fmt: skip
    """Scores [BLOCK_L, BLOCK_N, BLOCK_R] for tensors in bfloat16 or float16, and the largest key or query.

    The halves of tanh are rounded to float16 (2^-12), and each row of weights is scaled by a power of 2 to fit float16.
    """
    o_d, o_r = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_R)
    k_largest = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    q_largest = tl.zeros([BLOCK_L, BLOCK_D], tl.float32)
    b_scale = tl.zeros([BLOCK_R], tl.float32)
    for first in range(0, D, BLOCK_D):
        o_0 = (first + o_d)[:, None]
        b_w = tl.load(p_w + o_r * D + o_0, mask=(o_0 < D) & (o_r < R), other=0.0).to(tl.float32)  # [BLOCK_D, BLOCK_R]
        b_scale = tl.maximum(b_scale, tl.max(tl.abs(b_w), axis=0))
    b_power = b_scale.to(tl.int32, bitcast=True) & 0x7F800000
    b_scale = tl.where(b_power == 0, 1.0, b_power.to(tl.float32, bitcast=True))
    b_sum = tl.zeros([BLOCK_L * BLOCK_N, BLOCK_R], tl.float32)
    for first in range(0, D, 2 * BLOCK_D):
        o_0, o_1, b_k0, b_k1, b_q0, b_q1 = pairs_of(p_k, p_q, first, D, BLOCK_D)
        k_largest = tl.maximum(k_largest, tl.maximum(tl.abs(b_k0), tl.abs(b_k1)))
        q_largest = tl.maximum(q_largest, tl.maximum(tl.abs(b_q0), tl.abs(b_q1)))
        b_k0, b_k1 = ready(b_k0, SAFE, SHORT), ready(b_k1, SAFE, SHORT)
        b_q0, b_q1 = ready(b_q0, SAFE, SHORT), ready(b_q1, SAFE, SHORT)
        b_0, b_1 = halves(b_k0[None, :, :], b_q0[:, None, :], b_k1[None, :, :], b_q1[:, None, :], SAFE, False)
        b_0 = tl.reshape(b_0.to(tl.float16), [BLOCK_L * BLOCK_N, BLOCK_D])
        b_1 = tl.reshape(b_1.to(tl.float16), [BLOCK_L * BLOCK_N, BLOCK_D])
        m_0, m_1 = (o_0 < D)[:, None] & (o_r < R), (o_1 < D)[:, None] & (o_r < R)
        b_w0 = tl.load(p_w + o_r * D + o_0[:, None], mask=m_0, other=0.0).to(tl.float32)
        b_w1 = tl.load(p_w + o_r * D + o_1[:, None], mask=m_1, other=0.0).to(tl.float32)
        b_sum = tl.dot(b_0, (b_w0 / b_scale).to(tl.float16), b_sum)
        b_sum = tl.dot(b_1, (b_w1 / b_scale).to(tl.float16), b_sum)
    largest = tl.maximum(tl.max(tl.max(k_largest, axis=1), axis=0), tl.max(tl.max(q_largest, axis=1), axis=0))
    return tl.reshape(b_sum * (-2.0 * b_scale), [BLOCK_L, BLOCK_N, BLOCK_R]), largest
