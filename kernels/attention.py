"""Forward kernel of ``spatio_temporal_attention``: two sweeps over the frames of one motion for a few words."""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.functions import add_to_moments, exact_bound, part_loss, scores, softmax_over_parts


@triton.jit(do_not_specialize=["T", "L"])
def attention_forward(  # type: ignore[no-untyped-def]
    parts, temporal_keys, spatial_keys, temporal_query, spatial_query, temporal_weight, spatial_weight, spatial_bias,
    lengths, target, context, window, spatial, mean, std, loss, T, L, scale, smallest_variance, reach,
    P: tl.constexpr, S: tl.constexpr, R: tl.constexpr, H: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_H: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_S: tl.constexpr, APPROXIMATE: tl.constexpr, CONTEXT_ONLY: tl.constexpr,
    LOG_MIN: tl.constexpr,
):  # fmt: skip
    """Program (b and word tile, chunk of H). Sweep 1: temporal scores, softmax and moments. Sweep 2: the rest.

    Outputs that are None are not written: window, spatial, mean and std, all or none; loss (B, L) float32, the sum of
    eq. 13's terms over a word's frames and parts, with target (B, L, P) of 1, 0 or -1 (not supervised) and without
    it None. CONTEXT_ONLY, without any of them, visits the frames within ``reach`` sigma of the mean alone.
    """
    tiles = tl.cdiv(L, BLOCK_L)
    b = (tl.program_id(0) // tiles).to(tl.int64)
    word = (tl.program_id(0) % tiles).to(tl.int64) * BLOCK_L + tl.arange(0, BLOCK_L)
    word_ok = word < L
    h = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    length = tl.minimum(tl.maximum(tl.load(lengths + b), 0), T).to(tl.int32)
    parts += b * T * P * H
    temporal_keys += b * T * S * D
    spatial_keys += b * T * S * D
    temporal_query += b * L * D
    spatial_query += b * L * D
    inside = tl.arange(0, BLOCK_T)
    slot = tl.arange(0, BLOCK_S)
    part = tl.arange(0, BLOCK_P)

    bound = exact_bound(temporal_weight, D, BLOCK_D)
    top = tl.full([BLOCK_L], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_L], tl.float32)
    anchor = tl.zeros([BLOCK_L], tl.float32)
    delta = tl.zeros([BLOCK_L], tl.float32)
    squares = tl.zeros([BLOCK_L], tl.float32)
    for first in range(0, length, BLOCK_T):
        frame = first + inside
        frame_ok = frame < length
        z, rest = scores(temporal_keys, temporal_query, temporal_weight, bound, frame.to(tl.int64), frame_ok, word,
                         word_ok, S, 1, D, BLOCK_L, BLOCK_T, BLOCK_D, BLOCK_S, APPROXIMATE,
                         not APPROXIMATE)  # fmt: skip
        z = tl.where(frame_ok[None, :, None] & (slot < S), z, float("-inf"))
        top, total, anchor, delta, squares = add_to_moments(z, rest, first, top, total, anchor, delta, squares, BLOCK_T)
    variance = squares / total
    sigma = tl.sqrt_rn(tl.where(variance < smallest_variance, smallest_variance, variance))

    begin = 0
    end = length
    if CONTEXT_ONLY:
        # Comparisons are False for NaN: a word without a mean keeps every frame, and shows.
        centre = anchor + delta
        low, high = centre - reach * sigma, centre + reach * sigma
        low = tl.min(tl.where(word_ok, tl.where(low > 0.0, low, 0.0), T), axis=0)
        high = tl.max(tl.where(word_ok, tl.where(high < T, high, T), 0.0), axis=0)
        begin = low.to(tl.int32) // BLOCK_T * BLOCK_T
        end = tl.minimum(length, high.to(tl.int32) + 1)
    total_context = tl.zeros([BLOCK_L, BLOCK_H], tl.float32)
    total_loss = tl.zeros([BLOCK_L], tl.float32)
    if target is not None:
        goal = tl.load(target + ((b * L + word) * P)[:, None] + part, mask=word_ok[:, None] & (part < P), other=-1.0)
    for first in range(begin, end, BLOCK_T):
        frame = first + inside
        frame_ok = frame < length
        score, _ = scores(spatial_keys, spatial_query, spatial_weight, 0.0, frame.to(tl.int64), frame_ok, word, word_ok,
                       S, R, D, BLOCK_L, BLOCK_T, BLOCK_D, BLOCK_P, APPROXIMATE, False)  # fmt: skip
        alpha, score, exponential, share = softmax_over_parts(score, spatial_bias, R, P, BLOCK_P)
        u = (frame.to(tl.float32)[None, :] - anchor[:, None] - delta[:, None]) / sigma[:, None]
        gaussian = tl.where(frame_ok, tl.exp(-0.5 * u * u), 0.0)
        weights = gaussian[:, :, None] * alpha
        for p in range(P):
            ours = tl.sum(tl.where(part == p, weights, 0.0), axis=2)
            place = (frame.to(tl.int64) * P + p) * H
            features = tl.load(parts + place[:, None] + h, mask=frame_ok[:, None] & (h < H), other=0.0)
            total_context = tl.dot(ours.to(features.dtype), features, total_context, input_precision="ieee")
            if target is not None:
                each = part_loss(score, exponential, share, goal, p, BLOCK_P, LOG_MIN)[0]
                total_loss += tl.sum(tl.where(frame_ok, each, 0.0), axis=1)
        if window is not None:
            if tl.program_id(1) == 0:
                rows = (b * L + word) * T
                at = rows[:, None] + frame
                fits = word_ok[:, None] & (frame < T)
                tl.store(window + at, gaussian.to(window.dtype.element_ty), mask=fits)
                alpha = tl.where(frame_ok[None, :, None], alpha, 0.0)
                tl.store(spatial + at[:, :, None] * P + part, alpha.to(spatial.dtype.element_ty),
                         mask=fits[:, :, None] & (part < P))  # fmt: skip

    row = b * L + word
    tl.store(context + row[:, None] * H + h, (total_context * scale).to(context.dtype.element_ty),
             mask=word_ok[:, None] & (h < H))  # fmt: skip
    if target is not None:
        if tl.program_id(1) == 0:
            tl.store(loss + row, total_loss, mask=word_ok)
    if window is not None:
        if tl.program_id(1) == 0:
            tl.store(mean + row, (anchor + delta).to(mean.dtype.element_ty), mask=word_ok)
            tl.store(std + row, sigma.to(std.dtype.element_ty), mask=word_ok)
            zero = tl.zeros([BLOCK_L, BLOCK_T], tl.float32)
            zeros = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_P], tl.float32)
            for first in range(tl.cdiv(length, BLOCK_T) * BLOCK_T, T, BLOCK_T):
                frame = first + inside
                at = (row * T)[:, None] + frame
                fits = word_ok[:, None] & (frame < T)
                tl.store(window + at, zero.to(window.dtype.element_ty), mask=fits)
                tl.store(spatial + at[:, :, None] * P + part, zeros.to(spatial.dtype.element_ty),
                         mask=fits[:, :, None] & (part < P))  # fmt: skip
