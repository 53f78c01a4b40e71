"""The functions that the kernels share: the softmaxes, running moments, the two guided losses.

Kernels are compiled for the sizes of a model (P, S, H, D) and not for those of a batch (B, T, L), which change often:
``do_not_specialize`` keeps Triton from compiling again where one of them is 1 or a multiple of 16.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def softmax_over_parts(score, bias, R: tl.constexpr, P: tl.constexpr, BLOCK_P: tl.constexpr):  # type: ignore[no-untyped-def]
    """Eq. 6: alpha (words, frames, BLOCK_P), from scores of the same shape and the pointer to a bias (R,).

    Returns alpha, and for the spatial loss the scores minus the largest of their frame, their exponentials and the
    exponentials' sums (words, frames). A bias of one row is the same for every part and cancels.
    """
    part = tl.arange(0, BLOCK_P)
    if R > 1:
        score += tl.load(bias + part, mask=part < R, other=0.0).to(tl.float32)
    score = tl.where(part < P, score, float("-inf"))
    score -= tl.max(score, axis=2)[:, :, None]
    exponential = tl.exp(score)
    total = tl.sum(exponential, axis=2)
    return exponential / total[:, :, None], score, exponential, total


@triton.jit
def part_loss(  # type: ignore[no-untyped-def]
    score, exponential, total, goal, p, BLOCK_P: tl.constexpr, LOG_MIN: tl.constexpr
):
    """Eq. 13 from scores: the binary cross entropy of part ``p``, and what its gradient needs.

    score, exponential, total: as ``softmax_over_parts`` gives them. goal: (words, BLOCK_P), 1, 0 or -1 (not
    supervised). Returns for (words, frames) the loss, whether it is counted (supervised, and its logarithm above
    LOG_MIN), whether the goal is 1, and the sum of the other parts' exponentials: log(1 - alpha) is the log of the
    others' share, exact where alpha rounds to 1.
    """
    part = tl.arange(0, BLOCK_P)
    wanted = tl.sum(tl.where(part == p, goal, 0.0), axis=1)[:, None]
    ours = tl.sum(tl.where(part == p, score, 0.0), axis=2)
    others = tl.sum(tl.where(part == p, 0.0, exponential), axis=2)
    logarithm = tl.where(wanted > 0.0, ours, tl.log(others)) - tl.log(total)
    counted = (wanted >= 0.0) & (logarithm > LOG_MIN)
    loss = tl.where(wanted >= 0.0, -tl.where(logarithm > LOG_MIN, logarithm, LOG_MIN), 0.0)
    return loss, counted, wanted > 0.0, others


@triton.jit
def gate_loss(logit, goal):  # type: ignore[no-untyped-def]
    """Eq. 12 from logits: the binary cross entropy with a goal in [0, 1], 0 where it is negative (not supervised)."""
    e = tl.exp(-tl.abs(logit))
    # log(1 + e); the quotient takes back what rounding 1 + e did, so that a small e keeps its digits.
    u = 1.0 + e
    log1p = tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))
    each = (1.0 - goal) * logit - tl.minimum(logit, 0.0) + log1p
    return tl.where(goal >= 0.0, each, 0.0)


@triton.jit
def gate_loss_slope(logit, goal):  # type: ignore[no-untyped-def]
    """Derivative of ``gate_loss``, sigmoid(logit) - goal without its cancellation."""
    slope = (1.0 - goal) / (1.0 + tl.exp(-logit)) - goal / (1.0 + tl.exp(logit))
    return tl.where(goal >= 0.0, slope, 0.0)


@triton.jit
def add_to_moments(  # type: ignore[no-untyped-def]
    score, rest, first, top, total, anchor, delta, squares, BLOCK_T: tl.constexpr
):
    """Take a tile of temporal scores + rest (words, BLOCK_T, slots) into the running softmax and its moments.

    Eq. 3 and 4. For every word: ``top`` the largest score without its rest, ``total`` the sum of exp(score - top),
    ``anchor + delta`` the mean frame, ``squares`` the sum of squared distances from it, weighted as the total. The
    anchor is the heaviest frame of the heaviest tile, a whole number, so that float32 holds the distance of a narrow
    attention's mean from it to the last bit, however far into the motion. Nothing is ever subtracted from a sum of
    squares.
    """
    offset = tl.arange(0, BLOCK_T).to(tl.float32)
    tile_top = tl.max(tl.max(score, axis=2), axis=1)
    weight = tl.sum(tl.exp(score - tile_top[:, None, None] + rest), axis=2)
    tile_total = tl.sum(weight, axis=1)
    peak = tl.max(tl.where(weight == tl.max(weight, axis=1)[:, None], offset, 0.0), axis=1)
    offset = offset - peak[:, None]
    tile_delta = tl.sum(weight * offset, axis=1) / tile_total
    distance = offset - tile_delta[:, None]
    tile_squares = tl.sum(weight * distance * distance, axis=1)

    new_top = tl.maximum(top, tile_top)
    old_scale, tile_scale = tl.exp(top - new_top), tl.exp(tile_top - new_top)
    old_total, tile_total = total * old_scale, tile_total * tile_scale
    new_total = old_total + tile_total
    tile_anchor = peak + first
    new_anchor = tl.where(tile_total > old_total, tile_anchor, anchor)
    old_delta = anchor - new_anchor + delta
    tile_delta = tile_anchor - new_anchor + tile_delta
    gap = tile_delta - old_delta
    new_delta = (old_total * old_delta + tile_total * tile_delta) / new_total
    squares = squares * old_scale + tile_squares * tile_scale + gap * gap * (old_total * tile_total / new_total)
    return new_top, new_total, new_anchor, new_delta, squares


@triton.jit
def moments(  # type: ignore[no-untyped-def]
    p_score, p_rest, row, m_l, length, T, smallest_variance,
    S: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """Eq. 3 and 4 for words ``row`` [BLOCK_L] of temporal scores (B * L, T, S), with what is to be added or None.

    Returns top, total, anchor, delta, variance, as ``add_to_moments`` has them, and sigma.
    """
    o_s = tl.arange(0, BLOCK_S)
    top = tl.full([BLOCK_L], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_L], tl.float32)
    anchor = tl.zeros([BLOCK_L], tl.float32)
    delta = tl.zeros([BLOCK_L], tl.float32)
    squares = tl.zeros([BLOCK_L], tl.float32)
    for first in range(0, length, BLOCK_T):
        o_t = first + tl.arange(0, BLOCK_T)
        at = ((row * T)[:, None] + o_t)[:, :, None] * S + o_s  # [BLOCK_L, BLOCK_T, BLOCK_S]
        m_key = (o_t < length)[None, :, None] & (o_s < S)
        z = tl.load(p_score + at, mask=m_l[:, None, None] & m_key, other=0.0)
        z = tl.where(m_key, z, float("-inf"))
        rest = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_S], tl.float32)
        if p_rest is not None:
            rest += tl.load(p_rest + at, mask=m_l[:, None, None] & m_key, other=0.0)
        top, total, anchor, delta, squares = add_to_moments(z, rest, first, top, total, anchor, delta, squares, BLOCK_T)
    variance = squares / total
    sigma = tl.sqrt_rn(tl.where(variance < smallest_variance, smallest_variance, variance))
    return top, total, anchor, delta, variance, sigma
