"""The forward pass of ``spatio_temporal_attention`` from both scores: what happens to each word (eq. 3, 4, 6 and 8)."""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.functions import moments, part_loss, softmax_over_parts


@triton.jit(do_not_specialize=["T", "L"])
def attention_words(  # type: ignore[no-untyped-def]
    p_parts, p_temporal, p_rest, p_spatial, p_bias, p_length, p_target,
    p_context, p_window, p_alpha, p_mean, p_std, p_loss, T, L, scale, smallest_variance, reach,
    P: tl.constexpr, S: tl.constexpr, R: tl.constexpr, H: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_S: tl.constexpr,
    CONTEXT_ONLY: tl.constexpr, LOG_MIN: tl.constexpr,
):  # fmt: skip
    """Program (b and word tile, chunk of H): moments, window, alpha and context from scores (``score_tiles``).

    Outputs that are None are not written: window and alpha, both or none; mean and std, both or none; loss (B, L)
    float32, the sum of eq. 13's terms over a word's frames and parts, with target (B, L, P) of 1, 0 or -1 (not
    supervised) and without it None. CONTEXT_ONLY, without any of them, visits the frames within ``reach`` sigma of the
    mean alone.
    """
    tiles = tl.cdiv(L, BLOCK_L)
    b = (tl.program_id(0) // tiles).to(tl.int64)
    o_l = (tl.program_id(0) % tiles).to(tl.int64) * BLOCK_L + tl.arange(0, BLOCK_L)
    m_l = o_l < L
    row = b * L + o_l
    o_h = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    o_p = tl.arange(0, BLOCK_P)
    length = tl.minimum(tl.maximum(tl.load(p_length + b), 0), T).to(tl.int32)
    p_parts += b * T * P * H
    _, _, anchor, delta, _, sigma = moments(
        p_temporal, p_rest, row, m_l, length, T, smallest_variance, S, BLOCK_L, BLOCK_T, BLOCK_S
    )

    begin = 0
    end = length
    if CONTEXT_ONLY:
        # Comparisons are False for NaN: a word without a mean keeps every frame, and shows.
        centre = anchor + delta
        low, high = centre - reach * sigma, centre + reach * sigma
        low = tl.min(tl.where(m_l, tl.where(low > 0.0, low, 0.0), T), axis=0)
        high = tl.max(tl.where(m_l, tl.where(high < T, high, T), 0.0), axis=0)
        begin = low.to(tl.int32) // BLOCK_T * BLOCK_T
        end = tl.minimum(length, high.to(tl.int32) + 1)
    b_context = tl.zeros([BLOCK_L, BLOCK_H], tl.float32)
    b_loss = tl.zeros([BLOCK_L], tl.float32)
    if p_target is not None:
        b_goal = tl.load(p_target + (row * P)[:, None] + o_p, mask=m_l[:, None] & (o_p < P), other=-1.0)
    for first in range(begin, end, BLOCK_T):
        o_t = first + tl.arange(0, BLOCK_T)
        m_t = o_t < length
        at = (row * T)[:, None] + o_t  # [BLOCK_L, BLOCK_T]
        m_part = m_l[:, None, None] & m_t[None, :, None] & (o_p < P)
        b_score = tl.load(p_spatial + at[:, :, None] * P + o_p, mask=m_part, other=0.0)  # [BLOCK_L, BLOCK_T, BLOCK_P]
        b_alpha, b_score, b_exp, b_total = softmax_over_parts(b_score, p_bias, R, P, BLOCK_P)
        b_u = (o_t.to(tl.float32)[None, :] - anchor[:, None] - delta[:, None]) / sigma[:, None]
        b_window = tl.where(m_t, tl.exp(-0.5 * b_u * b_u), 0.0)
        b_weight = b_window[:, :, None] * b_alpha
        for p in range(P):
            b_of_part = tl.sum(tl.where(o_p == p, b_weight, 0.0), axis=2)
            place = (o_t.to(tl.int64) * P + p) * H
            b_part = tl.load(p_parts + place[:, None] + o_h, mask=m_t[:, None] & (o_h < H), other=0.0)
            b_context = tl.dot(b_of_part.to(b_part.dtype), b_part, b_context, input_precision="ieee")
            if p_target is not None:
                b_each = part_loss(b_score, b_exp, b_total, b_goal, p, BLOCK_P, LOG_MIN)[0]
                b_loss += tl.sum(tl.where(m_t, b_each, 0.0), axis=1)
        if p_window is not None:
            if tl.program_id(1) == 0:
                m_at = m_l[:, None] & (o_t < T)
                tl.store(p_window + at, b_window.to(p_window.dtype.element_ty), mask=m_at)
                b_alpha = tl.where(m_t[None, :, None], b_alpha, 0.0)
                tl.store(p_alpha + at[:, :, None] * P + o_p, b_alpha.to(p_alpha.dtype.element_ty),
                         mask=m_at[:, :, None] & (o_p < P))  # fmt: skip

    tl.store(p_context + row[:, None] * H + o_h, (b_context * scale).to(p_context.dtype.element_ty),
             mask=m_l[:, None] & (o_h < H))  # fmt: skip
    if p_target is not None:
        if tl.program_id(1) == 0:
            tl.store(p_loss + row, b_loss, mask=m_l)
    if p_mean is not None:
        if tl.program_id(1) == 0:
            tl.store(p_mean + row, (anchor + delta).to(p_mean.dtype.element_ty), mask=m_l)
            tl.store(p_std + row, sigma.to(p_std.dtype.element_ty), mask=m_l)
    if p_window is not None:
        if tl.program_id(1) == 0:
            b_zero = tl.zeros([BLOCK_L, BLOCK_T], tl.float32)
            b_zeros = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_P], tl.float32)
            for first in range(tl.cdiv(length, BLOCK_T) * BLOCK_T, T, BLOCK_T):
                o_t = first + tl.arange(0, BLOCK_T)
                at = (row * T)[:, None] + o_t
                m_at = m_l[:, None] & (o_t < T)
                tl.store(p_window + at, b_zero.to(p_window.dtype.element_ty), mask=m_at)
                tl.store(p_alpha + at[:, :, None] * P + o_p, b_zeros.to(p_alpha.dtype.element_ty),
                         mask=m_at[:, :, None] & (o_p < P))  # fmt: skip
