"""The functions that the kernels share: tanh, scores, the softmaxes, running moments, the two guided losses.

Kernels are compiled for the sizes of a model (P, S, H, D) and not for those of a batch (B, T, L), which change often:
``do_not_specialize`` keeps Triton from compiling again where one of them is 1 or a multiple of 16.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tanh(x, APPROXIMATE: tl.constexpr):  # type: ignore[no-untyped-def]
    """tanh of float32 numbers; NaN stays NaN.

    APPROXIMATE takes the hardware's instruction (relative error 2^-11), for tensors that are stored in bfloat16.
    Otherwise a polynomial below 1, where 1 - 2 / (exp(2x) + 1) would cancel, and that form above.
    """
    if APPROXIMATE:
        return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
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
def exact_bound(weight, D: tl.constexpr, BLOCK_D: tl.constexpr):  # type: ignore[no-untyped-def]
    """What ``scores`` needs for exact sums: four times the sum of |w| of one row of weights (D,)."""
    total = 0.0
    for first in range(0, D, BLOCK_D):
        d = first + tl.arange(0, BLOCK_D)
        total += tl.sum(tl.abs(tl.load(weight + d, mask=d < D, other=0.0).to(tl.float32)), axis=0)
    return 4.0 * total


@triton.jit
def scores(  # type: ignore[no-untyped-def]
    keys, query, weight, bound, frame, frame_ok, word, word_ok,
    S: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
    BLOCK_L: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr,
    APPROXIMATE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """w . tanh(key + query) of eq. 2 and 5 for a tile of words and frames: (BLOCK_L, BLOCK_T, BLOCK_R).

    keys points at one motion's (T, S, D), query at its (L, D), weight at (R, D); either S or R is 1, and the last axis
    counts the other. frame and word are int64, what lies outside frame_ok and word_ok is not read.

    Returns the scores and what is to be added to them, 0 unless EXACT (one row of weights): the last bit of a large
    score is an error of its softmax. Adding and subtracting ``bound`` splits every term into a multiple of one small
    unit, which float32 sums exactly, and a rest that is too small for its rounding to matter.
    """
    row = tl.arange(0, BLOCK_R)
    total = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_R], tl.float32)
    rest = tl.zeros([BLOCK_L, BLOCK_T, BLOCK_R], tl.float32)
    for slot in range(S):
        for first in range(0, D, BLOCK_D):
            d = first + tl.arange(0, BLOCK_D)
            d_ok = d < D
            key = tl.load(keys + ((frame * S + slot) * D)[:, None] + d, mask=frame_ok[:, None] & d_ok, other=0.0)
            asked = tl.load(query + (word * D)[:, None] + d, mask=word_ok[:, None] & d_ok, other=0.0)
            value = tanh(key.to(tl.float32)[None, :, :] + asked.to(tl.float32)[:, None, :], APPROXIMATE)
            for r in range(R):
                w = tl.load(weight + r * D + d, mask=d_ok, other=0.0).to(tl.float32)
                term = value * w
                if EXACT:
                    coarse = (term + bound) - bound
                    rest += tl.where(row == slot, tl.sum(term - coarse, axis=2)[:, :, None], 0.0)
                    term = coarse
                total += tl.where(row == slot + r, tl.sum(term, axis=2)[:, :, None], 0.0)
    return total, rest


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
