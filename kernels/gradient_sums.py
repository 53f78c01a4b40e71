"""The sums of both gradients of one row of weights: every tanh is recomputed, a tile against one row after another.

A tile is GROUPS of BLOCK words or keys (its own rows), which share the exponentials of a row of the other kind, so that
those and the loads around them are spread over up to 24 rows. Where fewer are left, a third or two thirds of the groups
are summed. Dimensions d and d + 1 share a reciprocal. With u, minus half of tanh, the slope of tanh is 4 (1/4 - u u)
and the gradient of a weight the sum of -2 g u: the factors wait until the end. If numbers are too large for that, the
whole program starts over, one tanh at a time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.tanh import halves_of, met, ready


@triton.jit
def gradient_sums(  # type: ignore[no-untyped-def]
    p_own, left, p_row, p_g, step_g, o_d, count, D: tl.constexpr,
    BLOCK: tl.constexpr, GROUPS: tl.constexpr, BLOCK_D: tl.constexpr, SHORT: tl.constexpr, REFINED: tl.constexpr,
):  # fmt: skip
    """``tile_sums`` in pairs over as few groups as hold the ``left`` rows of the tile."""
    third: tl.constexpr = tl.cdiv(GROUPS, 3)
    if GROUPS < 3:
        sums = tile_sums(
            p_own, left, p_row, p_g, step_g, o_d, count, D, BLOCK, GROUPS, GROUPS, BLOCK_D, SHORT, REFINED, False
        )
    elif left <= third * BLOCK:
        sums = tile_sums(
            p_own, left, p_row, p_g, step_g, o_d, count, D, BLOCK, GROUPS, third, BLOCK_D, SHORT, REFINED, False
        )
    elif left <= 2 * third * BLOCK:
        sums = tile_sums(
            p_own, left, p_row, p_g, step_g, o_d, count, D, BLOCK, GROUPS, 2 * third, BLOCK_D, SHORT, REFINED, False
        )
    else:
        sums = tile_sums(
            p_own, left, p_row, p_g, step_g, o_d, count, D, BLOCK, GROUPS, GROUPS, BLOCK_D, SHORT, REFINED, False
        )
    return sums


@triton.jit
def tile_sums(  # type: ignore[no-untyped-def]
    p_own, left, p_row, p_g, step_g, o_d, count, D: tl.constexpr,
    BLOCK: tl.constexpr, GROUPS: tl.constexpr, USED: tl.constexpr, BLOCK_D: tl.constexpr,
    SHORT: tl.constexpr, REFINED: tl.constexpr, SAFE: tl.constexpr,
):  # fmt: skip
    """The largest number of all rows; for each group the sum of g times the slope / 4; that of g u.

    p_own: the tile's own rows, of which ``left`` exist; p_row: the ``count`` rows of the other kind; p_g: the gradients
    of the tile's scores with the first of those, side by side, those with the next one ``step_g`` further. The sums are
    [BLOCK, 2 * BLOCK_D], the last one over all groups. Those of groups behind the first USED are 0.
    """
    o_own = tl.arange(0, BLOCK)
    p_g += o_own
    largest = 0.0
    b_zero = tl.zeros([BLOCK, BLOCK_D], tl.float32)
    b_e, b_ds = (), ()  # b_ds: even and odd dimensions of each group
    for j in tl.static_range(USED):
        mask = (o_own + j * BLOCK < left)[:, None] & (o_d < D)
        at = ((o_own + j * BLOCK) * D)[:, None] + o_d
        b_own = tl.load(p_own + at, mask=mask, other=0.0).to(tl.float32)  # [BLOCK, 2 * BLOCK_D]
        largest = tl.maximum(largest, tl.max(tl.max(tl.abs(b_own), axis=1), axis=0))
        b_e = b_e + (ready(b_own, SAFE, SHORT),)  # type: ignore[assignment]
        b_ds = b_ds + (b_zero, b_zero)  # type: ignore[assignment]
    b_dw0, b_dw1 = b_zero, b_zero
    b_largest = tl.zeros([2 * BLOCK_D], tl.float32)
    for _ in tl.range(0, count, loop_unroll_factor=1 if SAFE else 2):
        if D % (2 * BLOCK_D) == 0:
            b_row = tl.load(p_row + o_d).to(tl.float32)  # [2 * BLOCK_D]
        else:
            b_row = tl.load(p_row + o_d, mask=o_d < D, other=0.0).to(tl.float32)
        b_largest = tl.maximum(b_largest, tl.abs(b_row))
        b_row = ready(b_row, SAFE, SHORT)
        made = ()
        for j in tl.static_range(USED):
            b_x = tl.reshape(met(b_row[None, :], b_e[j], SAFE), [BLOCK, BLOCK_D, 2])
            b_x0, b_x1 = tl.split(b_x)
            b_u0, b_u1 = halves_of(b_x0, b_x1, SAFE, REFINED)  # [BLOCK, BLOCK_D]
            b_g = tl.load(p_g + j * BLOCK)[:, None]  # [BLOCK, 1]
            made = made + (  # type: ignore[assignment]
                tl.fma(b_g, tl.fma(-b_u0, b_u0, 0.25), b_ds[2 * j]),
                tl.fma(b_g, tl.fma(-b_u1, b_u1, 0.25), b_ds[2 * j + 1]),
            )
            b_dw0, b_dw1 = tl.fma(b_g, b_u0, b_dw0), tl.fma(b_g, b_u1, b_dw1)
        b_ds = made
        p_row += D
        p_g += step_g
    joined = ()
    for j in tl.static_range(USED):
        joined = joined + (tl.reshape(tl.join(b_ds[2 * j], b_ds[2 * j + 1]), [BLOCK, 2 * BLOCK_D]),)  # type: ignore[assignment]
    for _ in tl.static_range(GROUPS - USED):
        joined = joined + (tl.zeros([BLOCK, 2 * BLOCK_D], tl.float32),)  # type: ignore[assignment]
    b_dw = tl.reshape(tl.join(b_dw0, b_dw1), [BLOCK, 2 * BLOCK_D])
    return tl.maximum(largest, tl.max(b_largest, axis=0)), joined, b_dw
