"""Gradient kernels of ``spatio_temporal_attention``; every sum has one owner, which adds in a fixed order.

``score_tiles`` recomputes the scores of both attentions. ``word_gradient`` turns them into the scores' gradients, a
few numbers for each (word, frame, part). ``query_gradient_rows`` and ``key_gradient_rows`` recompute every tanh and
carry those gradients to the queries and weights (summed over the frames) and to the keys (summed over the words), where
several rows of weights share a tanh; one row has kernels of its own, ``query_gradient`` and ``key_gradient``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.functions import moments, part_loss, softmax_over_parts
from m2t_fast.kernels.tanh import LARGEST, SMALLEST, halves, ready


@triton.jit(do_not_specialize=["T", "L"])
def word_gradient(  # type: ignore[no-untyped-def]
    p_temporal, p_rest, p_spatial, p_bias, p_length, p_target,
    p_d_weight, p_d_window, p_d_alpha, p_d_mean, p_d_std, p_d_loss,
    p_weight, p_d_temporal, p_d_spatial, p_d_bias, T, L, scale, smallest_variance,
    P: tl.constexpr, S: tl.constexpr, R: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_S: tl.constexpr, LOG_MIN: tl.constexpr,
):  # fmt: skip
    """Program (b and word tile): from both scores and the outputs' gradients (None: not used) to the scores' gradients.

    p_rest is None or to be added to the temporal scores. p_d_weight (B, L, T, P) is the gradient of scale * window *
    alpha, which goes to p_weight, 0 in the padding. p_d_loss (B, L), with p_target (B, L, P), is that of the spatial
    loss as ``attention_words`` sums it. p_d_bias (programs, P) is written for several score rows alone.
    """
    tiles = tl.cdiv(L, BLOCK_L)
    program = tl.program_id(0)
    b = (program // tiles).to(tl.int64)
    o_l = (program % tiles).to(tl.int64) * BLOCK_L + tl.arange(0, BLOCK_L)
    m_l = o_l < L
    length = tl.minimum(tl.maximum(tl.load(p_length + b), 0), T).to(tl.int32)
    o_s = tl.arange(0, BLOCK_S)
    o_p = tl.arange(0, BLOCK_P)
    row = b * L + o_l

    top, total, anchor, delta, variance, sigma = moments(
        p_temporal, p_rest, row, m_l, length, T, smallest_variance, S, BLOCK_L, BLOCK_T, BLOCK_S
    )

    # Eq. 8, 6 and 4: context, softmax over the parts, window.
    along_mean = tl.zeros([BLOCK_L], tl.float32)
    along_std = tl.zeros([BLOCK_L], tl.float32)
    bias_total = tl.zeros([BLOCK_P], tl.float32)
    if p_d_loss is not None:
        goal = tl.load(p_target + (row * P)[:, None] + o_p, mask=m_l[:, None] & (o_p < P), other=-1.0)
        along_loss = tl.load(p_d_loss + row, mask=m_l, other=0.0)[:, None, None]
    for first in range(0, length, BLOCK_T):
        o_t = first + tl.arange(0, BLOCK_T)
        at = (row * T)[:, None] + o_t
        fits = m_l[:, None] & (o_t < length)
        place = at[:, :, None] * P + o_p
        valid = fits[:, :, None] & (o_p < P)
        score = tl.load(p_spatial + place, mask=valid, other=0.0)
        alpha, score, exponential, share = softmax_over_parts(score, p_bias, R, P, BLOCK_P)
        u = (o_t.to(tl.float32)[None, :] - anchor[:, None] - delta[:, None]) / sigma[:, None]
        gaussian = tl.where(fits, tl.exp(-0.5 * u * u), 0.0)
        d_gaussian = tl.zeros([BLOCK_L, BLOCK_T], tl.float32)
        d_alpha = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_P], tl.float32)
        if p_d_weight is not None:
            tl.store(p_weight + place, (scale * gaussian[:, :, None] * alpha).to(p_weight.dtype.element_ty),
                     mask=m_l[:, None, None] & (o_t < T)[None, :, None] & (o_p < P))  # fmt: skip
            d = tl.load(p_d_weight + place, mask=valid, other=0.0).to(tl.float32) * scale
            d_gaussian += tl.sum(d * alpha, axis=2)
            d_alpha += d * gaussian[:, :, None]
        if p_d_window is not None:
            d_gaussian += tl.load(p_d_window + at, mask=fits, other=0.0).to(tl.float32)
        if p_d_alpha is not None:
            d_alpha += tl.load(p_d_alpha + place, mask=valid, other=0.0).to(tl.float32)
        d_score = alpha * (d_alpha - tl.sum(d_alpha * alpha, axis=2)[:, :, None])
        if p_d_loss is not None:
            for p in range(P):
                _, counted, hit, others = part_loss(score, exponential, share, goal, p, BLOCK_P, LOG_MIN)
                # Of log(total) - score, or of log(total) - log(others).
                rest = tl.where(o_p == p, 0.0, exponential / others[:, :, None])
                d = alpha - tl.where(hit[:, :, None], tl.where(o_p == p, 1.0, 0.0), rest)
                d_score += along_loss * tl.where(counted[:, :, None], d, 0.0)
        tl.store(p_d_spatial + place, d_score, mask=valid)
        if R > 1:
            bias_total += tl.sum(tl.sum(tl.where(valid, d_score, 0.0), axis=1), axis=0)
        along = d_gaussian * gaussian * u
        along_mean += tl.sum(along, axis=1)
        along_std += tl.sum(along * u, axis=1)
    if R > 1:
        tl.store(p_d_bias + program.to(tl.int64) * P + o_p, bias_total, mask=o_p < P)
    if p_d_weight is not None:
        zeros = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_P], p_weight.dtype.element_ty)
        for first in range(tl.cdiv(length, BLOCK_T) * BLOCK_T, T, BLOCK_T):
            o_t = first + tl.arange(0, BLOCK_T)
            place = ((row * T)[:, None] + o_t)[:, :, None] * P + o_p
            tl.store(p_weight + place, zeros,
                     mask=m_l[:, None, None] & (o_t < T)[None, :, None] & (o_p < P))  # fmt: skip

    # Eq. 4 and 3: moments and softmax over the frames. The moments' gradients are centred, so they sum to 0 over gamma.
    along_mean /= sigma
    along_std /= sigma
    if p_d_mean is not None:
        along_mean += tl.load(p_d_mean + row, mask=m_l, other=0.0).to(tl.float32)
    if p_d_std is not None:
        along_std += tl.load(p_d_std + row, mask=m_l, other=0.0).to(tl.float32)
    # A clamped sigma is a constant.
    along_variance = tl.where(variance < smallest_variance, 0.0, along_std / (2.0 * sigma))
    for first in range(0, length, BLOCK_T):
        o_t = first + tl.arange(0, BLOCK_T)
        place = ((row * T)[:, None] + o_t)[:, :, None] * S + o_s
        valid = m_l[:, None, None] & (o_t < length)[None, :, None] & (o_s < S)
        z = tl.load(p_temporal + place, mask=valid, other=0.0)
        z -= top[:, None, None]
        if p_rest is not None:
            z += tl.load(p_rest + place, mask=valid, other=0.0)
        gamma = tl.exp(z) / total[:, None, None]
        offset = o_t.to(tl.float32)[None, :] - anchor[:, None] - delta[:, None]
        d_frame = offset * along_mean[:, None] + (offset * offset - variance[:, None]) * along_variance[:, None]
        tl.store(p_d_temporal + place, gamma * d_frame[:, :, None], mask=valid)


# A program of either kernel below owns dimensions d and BLOCK_D + d, which share a reciprocal and every gradient of a
# score that it reads. With u, minus half of tanh, the slope of tanh is 4 (1/4 - u u) and the gradient of a weight the
# sum of -2 g u: the factors wait until the end. What is too large for that, the whole program does again, one tanh at a
# time.


@triton.jit(do_not_specialize=["T", "L"])
def query_gradient_rows(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, p_g, p_length, p_dq, p_dw, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_D: tl.constexpr, ROWS: tl.constexpr, SHORT: tl.constexpr,
):  # fmt: skip
    """Program (b and word tile, chunk of D): d_query (B, L, D), and its share of d_weight (programs, R, D) float32.

    p_g: the scores' gradients (B, L, T * S, R) float32. ROWS of weights, 3, share a tanh.
    """
    tiles = tl.cdiv(L, BLOCK_L)
    program = tl.program_id(0).to(tl.int64)
    b = program // tiles
    o_l = program % tiles * BLOCK_L + tl.arange(0, BLOCK_L)
    o_0 = tl.program_id(1) * (2 * BLOCK_D) + tl.arange(0, BLOCK_D)
    o_1 = o_0 + BLOCK_D
    m_l = o_l < L
    m_0, m_1 = m_l[:, None] & (o_0 < D), m_l[:, None] & (o_1 < D)
    count = tl.minimum(tl.load(p_length + b), T).to(tl.int32) * S
    at = ((b * L + o_l) * D)[:, None]
    b_q0 = tl.load(p_q + at + o_0, mask=m_0, other=0.0).to(tl.float32)  # [BLOCK_L, BLOCK_D]
    b_q1 = tl.load(p_q + at + o_1, mask=m_1, other=0.0).to(tl.float32)
    p_k += b * T * S * D
    p_g += (b * L + tl.minimum(o_l, L - 1)) * T * (S * R)  # [BLOCK_L]
    b_largest = tl.maximum(tl.abs(b_q0), tl.abs(b_q1))
    largest = tl.max(tl.max(b_largest, axis=1), axis=0)
    b_dq0 = tl.zeros([BLOCK_L, BLOCK_D], tl.float32)
    b_dq1 = tl.zeros([BLOCK_L, BLOCK_D], tl.float32)
    for r in tl.static_range(0, R, ROWS):
        sums = query_row_sums(
            p_k, p_g + r, b_q0, b_q1, o_0, o_1, m_l, count, R, D, R - r, BLOCK_L, BLOCK_D, SHORT, False
        )
        all_largest = tl.maximum(largest, sums[0])
        if (all_largest > LARGEST) | ((not SHORT) & (all_largest <= SMALLEST)):
            sums = query_row_sums(
                p_k, p_g + r, b_q0, b_q1, o_0, o_1, m_l, count, R, D, R - r, BLOCK_L, BLOCK_D, SHORT, True
            )
        for i in tl.static_range(ROWS):
            if r + i < R:
                b_w0 = tl.load(p_w + (r + i) * D + o_0, mask=o_0 < D, other=0.0).to(tl.float32)  # [BLOCK_D]
                b_w1 = tl.load(p_w + (r + i) * D + o_1, mask=o_1 < D, other=0.0).to(tl.float32)
                b_dq0 += sums[4 * i + 1] * (4.0 * b_w0)
                b_dq1 += sums[4 * i + 2] * (4.0 * b_w1)
                at_w = (program * R + r + i) * D
                tl.store(p_dw + at_w + o_0, -2.0 * tl.sum(sums[4 * i + 3], axis=0), mask=o_0 < D)
                tl.store(p_dw + at_w + o_1, -2.0 * tl.sum(sums[4 * i + 4], axis=0), mask=o_1 < D)
    tl.store(p_dq + at + o_0, b_dq0.to(p_dq.dtype.element_ty), mask=m_0)
    tl.store(p_dq + at + o_1, b_dq1.to(p_dq.dtype.element_ty), mask=m_1)


@triton.jit
def query_row_sums(  # type: ignore[no-untyped-def]
    p_k, p_g, b_q0, b_q1, o_0, o_1, m_l, count, R: tl.constexpr, D: tl.constexpr, LEFT: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_D: tl.constexpr, SHORT: tl.constexpr, SAFE: tl.constexpr,
):  # fmt: skip
    """The largest key; then for each of three rows of weights four sums over the keys, [BLOCK_L, BLOCK_D].

    Those of g times the slope / 4, in both blocks of dimensions, and those of g u. LEFT rows exist; the others' sums
    are 0.
    """
    b_q0, b_q1 = ready(b_q0, SAFE, SHORT), ready(b_q1, SAFE, SHORT)
    b_zero = tl.zeros([BLOCK_L, BLOCK_D], tl.float32)
    b_dq0, b_dq1, b_dw0, b_dw1 = b_zero, b_zero, b_zero, b_zero
    b_dq2, b_dq3, b_dw2, b_dw3 = b_zero, b_zero, b_zero, b_zero
    b_dq4, b_dq5, b_dw4, b_dw5 = b_zero, b_zero, b_zero, b_zero
    b_largest = tl.zeros([BLOCK_D], tl.float32)
    for _ in range(count):
        b_k0 = tl.load(p_k + o_0, mask=o_0 < D, other=0.0).to(tl.float32)  # [BLOCK_D]
        b_k1 = tl.load(p_k + o_1, mask=o_1 < D, other=0.0).to(tl.float32)
        b_largest = tl.maximum(b_largest, tl.maximum(tl.abs(b_k0), tl.abs(b_k1)))
        b_k0, b_k1 = ready(b_k0, SAFE, SHORT), ready(b_k1, SAFE, SHORT)
        b_u0, b_u1 = halves(b_k0[None, :], b_q0, b_k1[None, :], b_q1, SAFE, not SHORT)  # [BLOCK_L, BLOCK_D]
        b_s0, b_s1 = tl.fma(-b_u0, b_u0, 0.25), tl.fma(-b_u1, b_u1, 0.25)
        b_g = tl.load(p_g, mask=m_l, other=0.0)[:, None]  # [BLOCK_L, 1]
        b_dq0, b_dq1 = tl.fma(b_g, b_s0, b_dq0), tl.fma(b_g, b_s1, b_dq1)
        b_dw0, b_dw1 = tl.fma(b_g, b_u0, b_dw0), tl.fma(b_g, b_u1, b_dw1)
        if LEFT > 1:
            b_g = tl.load(p_g + 1, mask=m_l, other=0.0)[:, None]
            b_dq2, b_dq3 = tl.fma(b_g, b_s0, b_dq2), tl.fma(b_g, b_s1, b_dq3)
            b_dw2, b_dw3 = tl.fma(b_g, b_u0, b_dw2), tl.fma(b_g, b_u1, b_dw3)
        if LEFT > 2:
            b_g = tl.load(p_g + 2, mask=m_l, other=0.0)[:, None]
            b_dq4, b_dq5 = tl.fma(b_g, b_s0, b_dq4), tl.fma(b_g, b_s1, b_dq5)
            b_dw4, b_dw5 = tl.fma(b_g, b_u0, b_dw4), tl.fma(b_g, b_u1, b_dw5)
        p_k += D
        p_g += R
    largest = tl.max(b_largest, axis=0)
    return (largest, b_dq0, b_dq1, b_dw0, b_dw1, b_dq2, b_dq3, b_dw2, b_dw3, b_dq4, b_dq5, b_dw4, b_dw5)


@triton.jit(do_not_specialize=["T", "L"])
def key_gradient_rows(  # type: ignore[no-untyped-def]
    p_k, p_q, p_w, p_g, p_length, p_dk, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, SHORT: tl.constexpr,
):  # fmt: skip
    """Program (b and key tile, chunk of D): d_keys (B, T, S, D), 0 in the padding; p_g: (B, L, T * S, R) float32."""
    tiles = tl.cdiv(T * S, BLOCK_N)
    program = tl.program_id(0).to(tl.int64)
    b = program // tiles
    o_n = program % tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    o_0 = tl.program_id(1) * (2 * BLOCK_D) + tl.arange(0, BLOCK_D)
    o_1 = o_0 + BLOCK_D
    count = tl.minimum(tl.load(p_length + b), T) * S
    m_n = o_n < count
    at = ((b * T * S + o_n) * D)[:, None]
    b_k0 = tl.load(p_k + at + o_0, mask=m_n[:, None] & (o_0 < D), other=0.0).to(tl.float32)  # [BLOCK_N, BLOCK_D]
    b_k1 = tl.load(p_k + at + o_1, mask=m_n[:, None] & (o_1 < D), other=0.0).to(tl.float32)
    p_q += b * L * D
    p_g += (b * L * T * S + tl.minimum(o_n, T * S - 1)) * R  # [BLOCK_N]
    words = tl.where(program % tiles * BLOCK_N < count, L, 0)
    b_dk0, b_dk1, largest = key_row_sums(
        p_q, p_w, p_g, b_k0, b_k1, o_0, o_1, m_n, words, T, S, R, D, BLOCK_N, BLOCK_D, SHORT, False
    )
    largest = tl.maximum(largest, tl.max(tl.max(tl.maximum(tl.abs(b_k0), tl.abs(b_k1)), axis=1), axis=0))
    if largest > LARGEST:
        b_dk0, b_dk1, _ = key_row_sums(
            p_q, p_w, p_g, b_k0, b_k1, o_0, o_1, m_n, words, T, S, R, D, BLOCK_N, BLOCK_D, SHORT, True
        )
    m_n = (o_n < T * S)[:, None]
    tl.store(p_dk + at + o_0, (4.0 * b_dk0).to(p_dk.dtype.element_ty), mask=m_n & (o_0 < D))
    tl.store(p_dk + at + o_1, (4.0 * b_dk1).to(p_dk.dtype.element_ty), mask=m_n & (o_1 < D))


@triton.jit
def key_row_sums(  # type: ignore[no-untyped-def]
    p_q, p_w, p_g, b_k0, b_k1, o_0, o_1, m_n, words, T, S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, SHORT: tl.constexpr, SAFE: tl.constexpr,
):  # fmt: skip
    """Over the words: of g w times the slope / 4 [BLOCK_N, BLOCK_D], twice. And the largest query."""
    b_k0, b_k1 = ready(b_k0, SAFE, SHORT), ready(b_k1, SAFE, SHORT)
    b_dk0 = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    b_dk1 = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    b_largest = tl.zeros([BLOCK_D], tl.float32)
    for _ in range(words):
        b_q0 = tl.load(p_q + o_0, mask=o_0 < D, other=0.0).to(tl.float32)  # [BLOCK_D]
        b_q1 = tl.load(p_q + o_1, mask=o_1 < D, other=0.0).to(tl.float32)
        b_largest = tl.maximum(b_largest, tl.maximum(tl.abs(b_q0), tl.abs(b_q1)))
        b_q0, b_q1 = ready(b_q0, SAFE, SHORT), ready(b_q1, SAFE, SHORT)
        b_u0, b_u1 = halves(b_k0, b_q0[None, :], b_k1, b_q1[None, :], SAFE, False)  # [BLOCK_N, BLOCK_D]
        b_d0 = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
        b_d1 = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
        for r in tl.static_range(R):
            b_g = tl.load(p_g + r, mask=m_n, other=0.0)[:, None]  # [BLOCK_N, 1]
            b_d0 += b_g * tl.load(p_w + r * D + o_0, mask=o_0 < D, other=0.0).to(tl.float32)
            b_d1 += b_g * tl.load(p_w + r * D + o_1, mask=o_1 < D, other=0.0).to(tl.float32)
        b_dk0 = tl.fma(b_d0, tl.fma(-b_u0, b_u0, 0.25), b_dk0)
        b_dk1 = tl.fma(b_d1, tl.fma(-b_u1, b_u1, 0.25), b_dk1)
        p_q += D
        p_g += T * (S * R)
    return b_dk0, b_dk1, tl.max(b_largest, axis=0)
