// Philox 4x32-10 and the factors made of it. Included once for each instruction set: see isa.h.
//
// Several counters go through the rounds side by side, in loops that the compiler makes vectors of.
#pragma once

#include "common/isa.h"
#include "cpu/draws.h"

namespace m2t {
namespace M2T_ISA {

constexpr int kCounters = 16;

struct Counters {
    std::uint32_t a[kCounters], b[kCounters], c[kCounters], d[kCounters];
};

inline void philox(Counters& x, std::uint64_t seed) {
    auto low = static_cast<std::uint32_t>(seed), high = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < kCounters; ++i) {
            const std::uint64_t first = std::uint64_t(0xD2511F53) * x.a[i], second = std::uint64_t(0xCD9E8D57) * x.c[i];
            x.a[i] = static_cast<std::uint32_t>(second >> 32) ^ x.b[i] ^ low;
            x.b[i] = static_cast<std::uint32_t>(second);
            x.c[i] = static_cast<std::uint32_t>(first >> 32) ^ x.d[i] ^ high;
            x.d[i] = static_cast<std::uint32_t>(first);
        }
        low += 0x9E3779B9;
        high += 0xBB67AE85;
    }
}

inline Counters counters(std::uint32_t first, std::uint32_t word, std::uint32_t row, std::uint32_t step) {
    Counters x;
    for (int i = 0; i < kCounters; ++i) {
        x.a[i] = first + static_cast<std::uint32_t>(i);
        x.b[i] = word;
        x.c[i] = row;
        x.d[i] = step;
    }
    return x;
}

template <typename T>
void draw_coins(const DrawsState& state, std::int64_t words, std::uint64_t threshold, std::uint8_t* coins) {
    for (std::int64_t l = 0; l < words; ++l) {
        Counters x = counters(kCoins, static_cast<std::uint32_t>(l), 0, state.step);
        philox(x, state.seed);
        coins[l] = x.a[0] < threshold;
    }
}

// Channel e of an embedding is word e % 4 of counter e / 4.
template <typename T>
void draw_factors(const DrawsState& state, std::uint32_t purpose, std::uint32_t word, std::uint32_t row,
                  std::uint64_t threshold, T factor, std::int64_t channels, T* out) {
    if (threshold == 0) {
        std::fill_n(out, channels, T(0));
        return;
    }
    // In 32 bits, which hold every threshold but 0 and 2^32 as the largest number below it.
    const auto last = static_cast<std::uint32_t>(threshold - 1);
    for (std::int64_t e = 0; e < channels; e += 4 * kCounters) {
        Counters x = counters(purpose + static_cast<std::uint32_t>(e / 4), word, row, state.step);
        philox(x, state.seed);
        T kept[4 * kCounters];
        for (int i = 0; i < kCounters; ++i) {
            kept[4 * i] = x.a[i] <= last ? factor : T(0);
            kept[4 * i + 1] = x.b[i] <= last ? factor : T(0);
            kept[4 * i + 2] = x.c[i] <= last ? factor : T(0);
            kept[4 * i + 3] = x.d[i] <= last ? factor : T(0);
        }
        std::copy_n(kept, std::min<std::int64_t>(4 * kCounters, channels - e), out + e);
    }
}

template <typename T>
DrawsKernels<T> draws_kernels() {
    return {&draw_coins<T>, &draw_factors<T>};
}

template DrawsKernels<float> draws_kernels<float>();
template DrawsKernels<double> draws_kernels<double>();

}  // namespace M2T_ISA
}  // namespace m2t
