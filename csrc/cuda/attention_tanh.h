// The ways to tanh(key + query), and what the attention's kernels share around them.
//
// The special-function unit makes 16 results a cycle and multiprocessor, and every way asks it for one or more. BySum
// is right for all numbers. ByProduct makes the exponentials of keys and queries once each and asks for one reciprocal
// a pair: its error is absolute, at most 2e-7, so it serves weights of moderate size alone, and numbers up to
// kLargest. Approximately is one instruction, for tensors that are stored shorter than float32.
#pragma once

#include "cuda/attention.h"
#include "cuda/device.h"

namespace m2t::cuda {

constexpr float kLargest = 16.0f;      // of |key| and of |query|: exp(2 * (16 + 16)) is far from infinity
constexpr float kMostSquares = 16.0f;  // of the sum of squares of a row of weights, for ByProduct in a softmax

struct BySum {
    M2T_DEVICE static float ready(float x) { return x; }
    M2T_DEVICE static float tanh(float key, float query) { return exact_tanh(key + query); }
};

struct ByProduct {
    M2T_DEVICE static float ready(float x) { return expf(2.0f * x); }
    M2T_DEVICE static float tanh(float key, float query) {
        return fmaf(-2.0f, reciprocal(fmaf(key, query, 1.0f)), 1.0f);
    }
};

struct Approximately {
    M2T_DEVICE static float ready(float x) { return x; }
    M2T_DEVICE static float tanh(float key, float query) { return approximate_tanh(key + query); }
};

template <typename T>
constexpr bool kExact = sizeof(T) == sizeof(float);

// Four numbers that are read from shared memory at once.
struct alignas(16) Four {
    float v[4];
};

M2T_DEVICE std::int64_t valid_frames(const std::int64_t* lengths, std::int64_t b, std::int64_t frames) {
    const std::int64_t length = lengths[b];
    return length < 0 ? 0 : length < frames ? length : frames;
}

M2T_ANYWHERE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

M2T_ANYWHERE std::int64_t ceiling(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace m2t::cuda
