"""Gradient kernels of ``spatio_temporal_attention``; every sum has one owner, which adds in a fixed order.

``score_tiles`` makes the scores of both attentions again. ``word_gradient`` turns them into the scores' gradients, a
few numbers for each (word, frame, part). ``query_gradient`` and ``key_gradient`` make every tanh again and carry those
gradients to the queries and weights (summed over the frames) and to the keys (summed over the words).
"""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.functions import add_to_moments, exact_bound, part_loss, scores, softmax_over_parts, tanh


@triton.jit(do_not_specialize=["T", "L"])
def score_tiles(  # type: ignore[no-untyped-def]
    keys, query, weight, lengths, out, out_rest, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr,
    APPROXIMATE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Program (b, word tile and frame tile): scores of eq. 2 or 5 into ``out`` (B, L, T, S * R) float32.

    With EXACT what is to be added to them goes to ``out_rest``.
    """
    word_tiles, frame_tiles = tl.cdiv(L, BLOCK_L), tl.cdiv(T, BLOCK_T)
    program = tl.program_id(0)
    b = (program // (word_tiles * frame_tiles)).to(tl.int64)
    word = (program // frame_tiles % word_tiles).to(tl.int64) * BLOCK_L + tl.arange(0, BLOCK_L)
    frame = (program % frame_tiles).to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    row = tl.arange(0, BLOCK_R)
    word_ok = word < L
    frame_ok = frame < tl.minimum(tl.load(lengths + b), T)
    if tl.max(frame_ok.to(tl.int32), axis=0) > 0:
        bound = 0.0
        if EXACT:
            bound = exact_bound(weight, D, BLOCK_D)
        score, rest = scores(keys + b * T * S * D, query + b * L * D, weight, bound, frame, frame_ok, word, word_ok,
                       S, R, D, BLOCK_L, BLOCK_T, BLOCK_D, BLOCK_R, APPROXIMATE, EXACT)  # fmt: skip
        at = ((b * L + word) * T)[:, None] + frame
        fits = word_ok[:, None] & frame_ok
        place = at[:, :, None] * (S * R) + row
        tl.store(out + place, score, mask=fits[:, :, None] & (row < S * R))
        if EXACT:
            tl.store(out_rest + place, rest, mask=fits[:, :, None] & (row < S * R))


@triton.jit(do_not_specialize=["T", "L"])
def word_gradient(  # type: ignore[no-untyped-def]
    temporal, temporal_rest, spatial, spatial_bias, lengths, target,
    d_weights, d_window, d_spatial, d_mean, d_std, d_loss,
    weights, d_temporal_scores, d_spatial_scores, d_bias, T, L, scale, smallest_variance,
    P: tl.constexpr, S: tl.constexpr, R: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_S: tl.constexpr, LOG_MIN: tl.constexpr,
):  # fmt: skip
    """Program (b and word tile): from both scores and the outputs' gradients (None: not used) to the scores' gradients.

    temporal_rest is None or to be added to the temporal scores. d_weights (B, L, T, P) is the gradient of scale *
    window * alpha, which goes to ``weights``, 0 in the padding. d_loss (B, L), with target (B, L, P), is that of the
    spatial loss as ``attention_forward`` sums it. d_bias (programs, P) is written for several score rows alone.
    """
    tiles = tl.cdiv(L, BLOCK_L)
    program = tl.program_id(0)
    b = (program // tiles).to(tl.int64)
    word = (program % tiles).to(tl.int64) * BLOCK_L + tl.arange(0, BLOCK_L)
    word_ok = word < L
    length = tl.minimum(tl.maximum(tl.load(lengths + b), 0), T).to(tl.int32)
    inside = tl.arange(0, BLOCK_T)
    slot = tl.arange(0, BLOCK_S)
    part = tl.arange(0, BLOCK_P)
    row = b * L + word

    top = tl.full([BLOCK_L], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_L], tl.float32)
    anchor = tl.zeros([BLOCK_L], tl.float32)
    delta = tl.zeros([BLOCK_L], tl.float32)
    squares = tl.zeros([BLOCK_L], tl.float32)
    for first in range(0, length, BLOCK_T):
        frame = first + inside
        place = ((row * T)[:, None] + frame)[:, :, None] * S + slot
        valid = (frame < length)[None, :, None] & (slot < S)
        z = tl.load(temporal + place, mask=word_ok[:, None, None] & valid, other=0.0)
        z = tl.where(valid, z, float("-inf"))
        rest = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_S], tl.float32)
        if temporal_rest is not None:
            rest += tl.load(temporal_rest + place, mask=word_ok[:, None, None] & valid, other=0.0)
        top, total, anchor, delta, squares = add_to_moments(z, rest, first, top, total, anchor, delta, squares, BLOCK_T)
    variance = squares / total
    sigma = tl.sqrt_rn(tl.where(variance < smallest_variance, smallest_variance, variance))

    # Eq. 8, 6 and 4: context, spatial softmax, window.
    along_mean = tl.zeros([BLOCK_L], tl.float32)
    along_std = tl.zeros([BLOCK_L], tl.float32)
    bias_total = tl.zeros([BLOCK_P], tl.float32)
    if d_loss is not None:
        goal = tl.load(target + (row * P)[:, None] + part, mask=word_ok[:, None] & (part < P), other=-1.0)
        along_loss = tl.load(d_loss + row, mask=word_ok, other=0.0)[:, None, None]
    for first in range(0, length, BLOCK_T):
        frame = first + inside
        at = (row * T)[:, None] + frame
        fits = word_ok[:, None] & (frame < length)
        place = at[:, :, None] * P + part
        valid = fits[:, :, None] & (part < P)
        score = tl.load(spatial + place, mask=valid, other=0.0)
        alpha, score, exponential, share = softmax_over_parts(score, spatial_bias, R, P, BLOCK_P)
        u = (frame.to(tl.float32)[None, :] - anchor[:, None] - delta[:, None]) / sigma[:, None]
        gaussian = tl.where(fits, tl.exp(-0.5 * u * u), 0.0)
        d_gaussian = tl.zeros([BLOCK_L, BLOCK_T], tl.float32)
        d_alpha = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_P], tl.float32)
        if d_weights is not None:
            tl.store(weights + place, (scale * gaussian[:, :, None] * alpha).to(weights.dtype.element_ty),
                     mask=word_ok[:, None, None] & (frame < T)[None, :, None] & (part < P))  # fmt: skip
            d = tl.load(d_weights + place, mask=valid, other=0.0).to(tl.float32) * scale
            d_gaussian += tl.sum(d * alpha, axis=2)
            d_alpha += d * gaussian[:, :, None]
        if d_window is not None:
            d_gaussian += tl.load(d_window + at, mask=fits, other=0.0).to(tl.float32)
        if d_spatial is not None:
            d_alpha += tl.load(d_spatial + place, mask=valid, other=0.0).to(tl.float32)
        d_score = alpha * (d_alpha - tl.sum(d_alpha * alpha, axis=2)[:, :, None])
        if d_loss is not None:
            for p in range(P):
                _, counted, hit, others = part_loss(score, exponential, share, goal, p, BLOCK_P, LOG_MIN)
                # Of log(total) - score, or of log(total) - log(others).
                rest = tl.where(part == p, 0.0, exponential / others[:, :, None])
                d = alpha - tl.where(hit[:, :, None], tl.where(part == p, 1.0, 0.0), rest)
                d_score += along_loss * tl.where(counted[:, :, None], d, 0.0)
        tl.store(d_spatial_scores + place, d_score, mask=valid)
        if R > 1:
            bias_total += tl.sum(tl.sum(tl.where(valid, d_score, 0.0), axis=1), axis=0)
        along = d_gaussian * gaussian * u
        along_mean += tl.sum(along, axis=1)
        along_std += tl.sum(along * u, axis=1)
    if R > 1:
        tl.store(d_bias + program.to(tl.int64) * P + part, bias_total, mask=part < P)
    if d_weights is not None:
        zeros = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_P], weights.dtype.element_ty)
        for first in range(tl.cdiv(length, BLOCK_T) * BLOCK_T, T, BLOCK_T):
            frame = first + inside
            place = ((row * T)[:, None] + frame)[:, :, None] * P + part
            tl.store(weights + place, zeros,
                     mask=word_ok[:, None, None] & (frame < T)[None, :, None] & (part < P))  # fmt: skip

    # Eq. 4 and 3: moments and softmax over the frames. The moments' gradients are centred, so they sum to 0 over gamma.
    along_mean /= sigma
    along_std /= sigma
    if d_mean is not None:
        along_mean += tl.load(d_mean + row, mask=word_ok, other=0.0).to(tl.float32)
    if d_std is not None:
        along_std += tl.load(d_std + row, mask=word_ok, other=0.0).to(tl.float32)
    # A clamped sigma is a constant.
    along_variance = tl.where(variance < smallest_variance, 0.0, along_std / (2.0 * sigma))
    for first in range(0, length, BLOCK_T):
        frame = first + inside
        place = ((row * T)[:, None] + frame)[:, :, None] * S + slot
        valid = word_ok[:, None, None] & (frame < length)[None, :, None] & (slot < S)
        z = tl.load(temporal + place, mask=valid, other=0.0)
        z -= top[:, None, None]
        if temporal_rest is not None:
            z += tl.load(temporal_rest + place, mask=valid, other=0.0)
        gamma = tl.exp(z) / total[:, None, None]
        offset = frame.to(tl.float32)[None, :] - anchor[:, None] - delta[:, None]
        d_frame = offset * along_mean[:, None] + (offset * offset - variance[:, None]) * along_variance[:, None]
        tl.store(d_temporal_scores + place, gamma * d_frame[:, :, None], mask=valid)


@triton.jit(do_not_specialize=["T", "L"])
def query_gradient(  # type: ignore[no-untyped-def]
    keys, query, weight, d_scores, lengths, d_query, d_weight, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr,
    APPROXIMATE: tl.constexpr,
):  # fmt: skip
    """Program (b and word tile, chunk of D): d_query (B, L, D), and its share of d_weight (programs, R, D) float32."""
    tiles = tl.cdiv(L, BLOCK_L)
    program = tl.program_id(0).to(tl.int64)
    b = program // tiles
    word = program % tiles * BLOCK_L + tl.arange(0, BLOCK_L)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    word_ok = word < L
    d_ok = d < D
    length = tl.minimum(tl.load(lengths + b), T).to(tl.int32)
    row = tl.arange(0, BLOCK_R)
    here = (b * L + word)[:, None] * D + d
    asked = tl.load(query + here, mask=word_ok[:, None] & d_ok, other=0.0).to(tl.float32)
    total = tl.zeros([BLOCK_L, BLOCK_D], tl.float32)
    weight_total = tl.zeros([BLOCK_R, BLOCK_D], tl.float32)
    for first in range(0, length, BLOCK_T):
        frame = first + tl.arange(0, BLOCK_T)
        fits = word_ok[:, None] & (frame < length)
        for slot in range(S):
            place = ((b * T + frame) * S + slot) * D
            key = tl.load(keys + place[:, None] + d, mask=(frame < length)[:, None] & d_ok, other=0.0).to(tl.float32)
            value = tanh(asked[:, None, :] + key[None, :, :], APPROXIMATE)
            d_value = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_D], tl.float32)
            for r in range(R):
                at = ((b * L + word) * T)[:, None] + frame
                g = tl.load(d_scores + at * (S * R) + slot + r, mask=fits, other=0.0)
                w = tl.load(weight + r * D + d, mask=d_ok, other=0.0).to(tl.float32)
                d_value += g[:, :, None] * w
                d_w = tl.sum(tl.sum(g[:, :, None] * value, axis=1), axis=0)
                weight_total += tl.where((row == r)[:, None], d_w, 0.0)
            total += tl.sum(d_value * (1.0 - value * value), axis=1)
    tl.store(d_query + here, total.to(d_query.dtype.element_ty), mask=word_ok[:, None] & d_ok)
    tl.store(d_weight + (program * R + row)[:, None] * D + d, weight_total, mask=(row < R)[:, None] & d_ok)


@triton.jit(do_not_specialize=["T", "L"])
def key_gradient(  # type: ignore[no-untyped-def]
    keys, query, weight, d_scores, lengths, d_keys, T, L,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr, APPROXIMATE: tl.constexpr,
):  # fmt: skip
    """Program (b, frame tile and key slot; chunk of D): d_keys (B, T, S, D), 0 in the padding."""
    tiles = tl.cdiv(T, BLOCK_T)
    program = tl.program_id(0).to(tl.int64)
    b = program // (tiles * S)
    slot = program // tiles % S
    frame = program % tiles * BLOCK_T + tl.arange(0, BLOCK_T)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    d_ok = d < D
    frame_ok = frame < tl.minimum(tl.load(lengths + b), T)
    here = (((b * T + frame) * S + slot) * D)[:, None] + d
    key = tl.load(keys + here, mask=frame_ok[:, None] & d_ok, other=0.0).to(tl.float32)
    total = tl.zeros([BLOCK_T, BLOCK_D], tl.float32)
    words = tl.where(tl.max(frame_ok.to(tl.int32), axis=0) > 0, L, 0)
    for first in range(0, words, BLOCK_L):
        word = first + tl.arange(0, BLOCK_L)
        word_ok = word < L
        asked = tl.load(query + (b * L + word)[:, None] * D + d, mask=word_ok[:, None] & d_ok, other=0.0)
        value = tanh(asked.to(tl.float32)[:, None, :] + key[None, :, :], APPROXIMATE)
        d_value = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_D], tl.float32)
        for r in range(R):
            at = ((b * L + word) * T)[:, None] + frame
            g = tl.load(d_scores + at * (S * R) + slot + r, mask=word_ok[:, None] & frame_ok, other=0.0)
            w = tl.load(weight + r * D + d, mask=d_ok, other=0.0).to(tl.float32)
            d_value += g[:, :, None] * w
        total += tl.sum(d_value * (1.0 - value * value), axis=0)
    tl.store(d_keys + here, total.to(d_keys.dtype.element_ty), mask=(frame < T)[:, None] & d_ok)
