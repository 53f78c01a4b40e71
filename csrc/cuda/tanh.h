// Every tanh of this folder, and what each may err.
//
//   exact_tanh     CUDA's own, to the last bits of float32: float32 means float32;
//   BySum, ByProduct, Approximately: of key + query, for scores and their gradients, which make them by the million;
//   ByPairs        the same for a search's scores.
//
// The special-function unit makes 16 results a cycle and multiprocessor, a quarter of what the schedulers issue, so it
// is asked as seldom as can be. ByProduct makes the exponentials of keys and queries once each; their product e gives
// the fraction 1 / (e + 1) = 1/2 - tanh(key + query) / 2, and the fractions of two dimensions or keys come from one
// reciprocal: 1 / x and 1 / y are y and x times 1 / (x y). Its error is absolute, at most 5.7e-7 of a tanh
// (two units of the last place of the exponentials and one of the reciprocal included; 4.6e-7 was found), so in float32
// it serves weights of moderate size alone, and in every dtype numbers up to kLargest.
#pragma once

#include "cuda/device.h"

namespace m2t::cuda {

M2T_DEVICE float exact_tanh(float x) { return tanhf(x); }

// exp(2x) from the hardware's power of 2: the relative error grows with |x|, 2e-6 at 11.
M2T_DEVICE float rough_exp_of_twice(float x) { return approximate_exp2(2.88539008f * x); }

// expf(2x) without its care for numbers beyond kLargest: 2 to the nearest whole number, whose exponent stands in the
// last bits of `shifted`, times the hardware's power of 2 of what is left. Within two units of the last place, as expf,
// whose constants these are, doubled. NaN stays NaN; of larger numbers it makes anything.
M2T_DEVICE float exp_of_twice(float x) {
    constexpr float kShift = 12582912.0f + 127.0f;  // 1.5 * 2^23, behind which float32 has whole numbers alone, + 127
    const float shifted = fmaf(x, 2.88539004f, kShift);
    const float rest = fmaf(x, 3.85192604e-8f, fmaf(x, 2.88539004f, kShift - shifted));
    return approximate_exp2(rest) * float_of(bits_of(shifted) << 23);
}

// Of |key| and of |query|: the product of two denominators, exp(2 * (11 + 11)) + 1 each, is below float32's largest.
constexpr float kLargest = 11.0f;
constexpr float kMostSquares = 16.0f;  // of the sum of squares of a row of weights, for ByProduct in a softmax

// What each way makes of a key or query once is `ready`, and of two pairs of them `halves`: minus half of either's
// tanh.
struct Halves {
    float first, second;
};

// 1 / x - 1/2 and 1 / y - 1/2.
M2T_DEVICE Halves halves_of(float x, float y) {
    const float r = approximate_reciprocal(x * y);
    return {fmaf(r, y, -0.5f), fmaf(r, x, -0.5f)};
}

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
        return halves_of(denominator(key, query), denominator(next_key, next_query));
    }
};

// For a search, which has few words: with an exponential for each pair, of numbers far beyond kLargest. From 20 on a
// float32 cannot tell tanh from 1, and the product of two denominators stays below float32's largest. Its error is
// 5.3e-7 at most (the hardware's counted as above; 4.9e-7 was found), and where a key cancels its query 6e-8 of the
// query more, which `ready` rounds once again: together 1.1e-6 at 11.
struct ByPairs {
    M2T_DEVICE static float ready(float x) { return 2.88539008f * x; }
    M2T_DEVICE static float denominator(float key, float query) {
        return approximate_exp2(at_most(fmaf(2.88539008f, key, query), 57.7f)) + 1.0f;
    }
    M2T_DEVICE static Halves halves(float key, float query, float next_key, float next_query) {
        return halves_of(denominator(key, query), denominator(next_key, next_query));
    }
};

// With a step of Newton's: for sums of tanh themselves, as the gradient of weights is one, whose terms may be small.
struct ByRefinedProduct : ByProduct<false> {
    M2T_DEVICE static Halves halves(float key, float query, float next_key, float next_query) {
        const float x = denominator(key, query), y = denominator(next_key, next_query), product = x * y;
        float r = approximate_reciprocal(product);
        r = fmaf(r, fmaf(-product, r, 1.0f), r);
        return {fmaf(r, y, -0.5f), fmaf(r, x, -0.5f)};
    }
};

template <typename T>
constexpr bool kExact = sizeof(T) == sizeof(float);

// Where no key and no query exceeds this, tanh is as small, and the absolute error of ByProduct too large for float32.
constexpr float kSmallest = 0.0625f;

}  // namespace m2t::cuda
