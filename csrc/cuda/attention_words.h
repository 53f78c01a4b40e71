// What the kernels that own a word share: sums over a block, the terms of both softmaxes, distances from the mean.
#pragma once

#include <cmath>

#include "cuda/attention_common.h"

namespace m2t::cuda {

constexpr int kThreads = 128;
constexpr std::size_t kReduction = kThreads / 32 * sizeof(float);  // shared memory of block_sum and block_max

// Whether every part has a row of weights and a bias of its own.
M2T_DEVICE bool several_rows(const AttentionSizes& n) { return n.slots < n.parts; }

// Of one number per thread, in every thread; the order is the same in every run.
M2T_DEVICE float block_sum(float x) {
    auto* values = shared_memory<float>();
    x = warp_sum(x);
    __syncthreads();  // the last call's values were read
    if (threadIdx.x % 32 == 0) values[threadIdx.x / 32] = x;
    __syncthreads();
    x = values[0];
    for (int i = 1; i < kThreads / 32; ++i) x += values[i];
    return x;
}

M2T_DEVICE float block_max(float x) {
    auto* values = shared_memory<float>();
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) values[threadIdx.x / 32] = x;
    __syncthreads();
    x = values[0];
    for (int i = 1; i < kThreads / 32; ++i) x = fmaxf(x, values[i]);
    return x;
}

// The temporal softmax's term of one key of a word, before it is divided by the total.
M2T_DEVICE float key_weight(const float* z, const float* rest, std::int64_t key, float top) {
    return expf(z[key] - top + (rest == nullptr ? 0.0f : rest[key]));
}

M2T_DEVICE float frame_weight(const float* z, const float* rest, std::int64_t t, std::int64_t slots, float top) {
    float weight = 0.0f;
    for (std::int64_t s = t * slots; s < (t + 1) * slots; ++s) weight += key_weight(z, rest, s, top);
    return weight;
}

// How far a frame lies behind a word's mean.
M2T_DEVICE float offset(const WordStats& stats, std::int64_t t) {
    return static_cast<float>(t) - stats.anchor - stats.delta;
}

// Whether a word has a part with a goal: 1 or 0, and not -1.
M2T_DEVICE bool supervised(const float* goals, std::int64_t parts) {
    bool any = false;
    for (std::int64_t p = 0; p < parts; ++p) any |= goals[p] >= 0.0f;
    return any;
}

// Eq. 6 for one frame of a word, from its scores. A bias of one row is the same for every part and cancels.
template <typename T>
struct PartSoftmax {
    const float* scores;
    const T* bias;
    float top = -INFINITY, total = 0.0f;

    M2T_DEVICE PartSoftmax(const float* scores_of_frame, const AttentionSizes& n, const T* bias_of_rows)
        : scores(scores_of_frame), bias(several_rows(n) ? bias_of_rows : nullptr) {
        for (std::int64_t p = 0; p < n.parts; ++p) top = fmaxf(top, score(p));
        for (std::int64_t p = 0; p < n.parts; ++p) total += exponential(p);
    }

    M2T_DEVICE float score(std::int64_t p) const { return scores[p] + (bias == nullptr ? 0.0f : to_float(bias[p])); }
    M2T_DEVICE float exponential(std::int64_t p) const { return expf(score(p) - top); }
    M2T_DEVICE float alpha(std::int64_t p) const { return exponential(p) / total; }

    // The other parts' exponentials: log(1 - alpha) is the log of their share, exact where alpha rounds to 1.
    M2T_DEVICE float others(std::int64_t p, std::int64_t parts) const {
        float sum = 0.0f;
        for (std::int64_t q = 0; q < parts; ++q) sum += q == p ? 0.0f : exponential(q);
        return sum;
    }

    // Eq. 13's logarithm for a part that is (goal 1) or is not (goal 0) to be looked at; others: as above, of goal 0.
    M2T_DEVICE float logarithm(std::int64_t p, float goal, float others_of_part) const {
        return (goal > 0.0f ? score(p) - top : logf(others_of_part)) - logf(total);
    }
};

}  // namespace m2t::cuda
