"""Coins and dropout factors from the counter-based generator Philox 4x32-10, the bits of ``reference.draws``."""

from __future__ import annotations

import triton
import triton.language as tl

MULTIPLIER_0 = tl.constexpr(0xD2511F53)
MULTIPLIER_1 = tl.constexpr(0xCD9E8D57)
INCREMENT_0 = tl.constexpr(0x9E3779B9)
INCREMENT_1 = tl.constexpr(0xBB67AE85)
MIXED = tl.constexpr(1 << 30)
COINS = tl.constexpr(1 << 31)


@triton.jit
def philox(a, b, c, d, low, high):  # type: ignore[no-untyped-def]
    """Four random words of the counter's four and the key's two, all uint32."""
    for _ in tl.static_range(10):
        first, second = tl.umulhi(a, MULTIPLIER_0), tl.umulhi(c, MULTIPLIER_1)
        b, d, a, c = c * MULTIPLIER_1, a * MULTIPLIER_0, second ^ b ^ low, first ^ d ^ high
        low, high = low + INCREMENT_0, high + INCREMENT_1
    return a, b, c, d


@triton.jit
def store_factors(  # type: ignore[no-untyped-def]
    out, word, place, channel, fits, threshold, factor, E: tl.constexpr
):
    """Store the factors of one of a counter's four words: channels of the embeddings ``place`` of out (B * L, E)."""
    kept = tl.where(word.to(tl.int64) < threshold, factor, 0.0)
    tl.store(out + place * E + channel, kept.to(out.dtype.element_ty), mask=fits & (channel < E))


@triton.jit(do_not_specialize=["B", "L", "coin_threshold", "keep_threshold"])
def random_draws(  # type: ignore[no-untyped-def]
    state,
    rows,
    coins,
    first,
    second,
    coin_threshold,
    keep_threshold,
    factor,
    B,
    L,
    E: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Program (BLOCK of the B * L * ceil(E / 4) counters of both masks, and behind them the L of the coins).

    state (2,) int64: seed and step. rows (B,) int64, or None for 0, 1, ... coins (L,) bool; first, second (B, L, E).
    """
    BLOCKS: tl.constexpr = (E + 3) // 4
    seed = tl.load(state)
    low, high = (seed & 0xFFFFFFFF).to(tl.uint32), ((seed >> 32) & 0xFFFFFFFF).to(tl.uint32)
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    count = B.to(tl.int64) * L * BLOCKS
    mask, coin = i < count, (i >= count) & (i < count + L)
    place, block = i // BLOCKS, i % BLOCKS
    row, word = place // L, tl.where(coin, i - count, place % L)
    if rows is not None:
        row = tl.load(rows + row, mask=mask, other=0)
    b, c = word.to(tl.uint32), tl.where(coin, 0, row & 0xFFFFFFFF).to(tl.uint32)
    d = (tl.load(state + 1) & 0xFFFFFFFF).to(tl.uint32) + tl.zeros([BLOCK], tl.uint32)
    a0, a1, a2, a3 = philox(tl.where(coin, COINS, block).to(tl.uint32), b, c, d, low, high)
    tl.store(coins + (i - count), a0.to(tl.int64) < coin_threshold, mask=coin)
    store_factors(first, a0, place, 4 * block, mask, keep_threshold, factor, E)
    store_factors(first, a1, place, 4 * block + 1, mask, keep_threshold, factor, E)
    store_factors(first, a2, place, 4 * block + 2, mask, keep_threshold, factor, E)
    store_factors(first, a3, place, 4 * block + 3, mask, keep_threshold, factor, E)
    a0, a1, a2, a3 = philox((block + MIXED).to(tl.uint32), b, c, d, low, high)
    store_factors(second, a0, place, 4 * block, mask, keep_threshold, factor, E)
    store_factors(second, a1, place, 4 * block + 1, mask, keep_threshold, factor, E)
    store_factors(second, a2, place, 4 * block + 2, mask, keep_threshold, factor, E)
    store_factors(second, a3, place, 4 * block + 3, mask, keep_threshold, factor, E)
