// Coins and dropout factors of a training step from the counter-based generator Philox 4x32-10.
//
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The key is the seed; the
// counter's words are purpose + channel / 4, word, row and step, as in m2t_fast/reference/draws.py.
#pragma once

#include <cstdint>

#include "common/isa.h"
#include "common/record.h"

namespace m2t {

struct DrawsState {
    std::uint64_t seed;
    std::uint32_t step;
};

struct DrawsSizes {
    M2T_FIELDS(std::int64_t batch, words, channels;)
};

struct DrawsInputs {
    M2T_FIELDS(
        const std::int64_t *state, *rows;  // seed and step; (batch), or null for 0, 1, ...
        std::uint64_t coin_threshold, keep_threshold;
        double factor;
    )
};

template <typename T>
struct DrawsOutputs {
    M2T_FIELDS(
        bool* coins;        // (words)
        T *first, *second;  // (batch, words, channels): factors of the input's and the mixture's embeddings
    )
};

// What a number is for, in the highest bits of the counter's first word.
constexpr std::uint32_t kInput = 0, kMixed = 1u << 30, kCoins = 2u << 30;

template <typename T>
struct DrawsKernels {
    // coins[l] = 1 where the number of word l is below the threshold.
    void (*coins)(const DrawsState&, std::int64_t words, std::uint64_t threshold, std::uint8_t* coins);
    // out[e] = `factor` where the number of channel e is below the threshold, else 0: one word of one row.
    void (*factors)(const DrawsState&, std::uint32_t purpose, std::uint32_t word, std::uint32_t row,
                    std::uint64_t threshold, T factor, std::int64_t channels, T* out);
};

M2T_DECLARE_KERNELS(DrawsKernels, draws_kernels)

}  // namespace m2t
