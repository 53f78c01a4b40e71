// Every tanh of this folder, and what each may err.
//
//   exact_tanh     CUDA's own, to the last bits of float32: float32 means float32;
//   fast_tanh      from the hardware's exponential and reciprocal, within 3e-7 of tanh: for a search's scores;
//   BySum, ByProduct, Approximately: of key + query, for scores and their gradients, which make them by the million.
//
// The special-function unit makes 16 results a cycle and multiprocessor, a quarter of what the schedulers issue, so it
// is asked as seldom as can be. ByProduct makes the exponentials of keys and queries once each; their product e gives
// the fraction 1 / (e + 1) = 1/2 - tanh(key + query) / 2, and the fractions of two dimensions or keys come from one
// reciprocal: 1 / x and 1 / y are y and x times 1 / (x y). Its error is absolute, at most 2.5e-7 of a tanh, so in
// float32 it serves weights of moderate size alone, and in every dtype numbers up to kLargest.
#pragma once

#include "cuda/device.h"

namespace m2t::cuda {

M2T_DEVICE float exact_tanh(float x) { return tanhf(x); }

constexpr float kLog2E = 1.44269504f, kLog2ERest = 1.92596299e-8f, kLn2 = 0.693147181f;

// exp(2x) for |x| up to 20, from the hardware's power of 2: with what rounding 2x / ln(2) left, to within 3 units of
// the last place, and without it to within 2^-20.
M2T_DEVICE float exp_of_twice(float x) {
    const float power = 2.0f * kLog2E * x;
    const float rest = fmaf(2.0f * kLog2ERest, x, fmaf(2.0f * kLog2E, x, -power));
    const float y = approximate_exp2(power);
    return fmaf(y * kLn2, rest, y);
}

M2T_DEVICE float rough_exp_of_twice(float x) { return approximate_exp2(2.0f * kLog2E * x); }

M2T_DEVICE float fast_tanh(float x) { return fmaf(-2.0f, approximate_reciprocal(rough_exp_of_twice(x) + 1.0f), 1.0f); }

// Of |key| and of |query|: the product of two denominators, exp(2 * (11 + 11)) + 1 each, is below float32's largest.
constexpr float kLargest = 11.0f;
constexpr float kMostSquares = 16.0f;  // of the sum of squares of a row of weights, for ByProduct in a softmax

// What each way makes of a key or query once is `ready`, and of two pairs of them `halves`: minus half of either's
// tanh.
struct Halves {
    float first, second;
};

struct BySum {
    M2T_DEVICE static float ready(float x) { return x; }
    M2T_DEVICE static float tanh(float key, float query) { return exact_tanh(key + query); }
    M2T_DEVICE static Halves halves(float key, float query, float next_key, float next_query) {
        return {-0.5f * tanh(key, query), -0.5f * tanh(next_key, next_query)};
    }
};

// Approximately is one instruction a tanh, relative error 2^-11, for tensors that are stored shorter than float32.
struct Approximately {
    M2T_DEVICE static float ready(float x) { return x; }
    M2T_DEVICE static float tanh(float key, float query) { return approximate_tanh(key + query); }
    M2T_DEVICE static Halves halves(float key, float query, float next_key, float next_query) {
        return {-0.5f * tanh(key, query), -0.5f * tanh(next_key, next_query)};
    }
};

// kShort: for tensors that are stored shorter than float32, with the rough exponential.
template <bool kShort>
struct ByProduct {
    M2T_DEVICE static float ready(float x) { return kShort ? rough_exp_of_twice(x) : exp_of_twice(x); }
    M2T_DEVICE static float denominator(float key, float query) { return fmaf(key, query, 1.0f); }
    M2T_DEVICE static Halves halves(float key, float query, float next_key, float next_query) {
        const float x = denominator(key, query), y = denominator(next_key, next_query);
        const float r = approximate_reciprocal(x * y);
        return {fmaf(r, y, -0.5f), fmaf(r, x, -0.5f)};
    }
};

// With CUDA's own exponential and a step of Newton's: for sums of tanh themselves, as the gradient of weights is one,
// whose terms may be small.
struct ByRefinedProduct {
    M2T_DEVICE static float ready(float x) { return expf(2.0f * x); }
    M2T_DEVICE static Halves halves(float key, float query, float next_key, float next_query) {
        const float x = fmaf(key, query, 1.0f), y = fmaf(next_key, next_query, 1.0f), product = x * y;
        float r = approximate_reciprocal(product);
        r = fmaf(r, fmaf(-product, r, 1.0f), r);
        return {fmaf(r, y, -0.5f), fmaf(r, x, -0.5f)};
    }
};

template <typename T>
constexpr bool kExact = sizeof(T) == sizeof(float);

// Whether a number is beyond ByProduct; NaN is not, and shows either way.
M2T_DEVICE bool too_large(float x) { return fabsf(x) > kLargest; }

}  // namespace m2t::cuda
