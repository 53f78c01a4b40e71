// Products of a few rows with rows of a weight matrix, by one warp: a weight is read once for all of the rows.
//
// A row and a weight row lie along the warp, so that both are read in whole lines; the sums of the lanes are added up
// at the end, of all products at once. The rows themselves come from the multiprocessor's cache, where the first warp
// left them: no barrier waits for them to be copied.
#pragma once

#include "cuda/vec4.h"

namespace m2t::cuda {

// Rows that take part in one reading of the weights.
constexpr int kFewRows = 8;

// Rows first, first + 1, ... of a matrix of `step` columns. Beyond the last row the last one is read again, for results
// that nobody keeps.
template <typename T>
struct Rows {
    const T* x;
    std::int64_t step, first, last;

    M2T_DEVICE const T* row(int r) const { return x + (first + r < last ? first + r : last) * step; }
    M2T_DEVICE bool wide() const { return begins_wide(x, step); }
    M2T_DEVICE Vec4 load_vec4(int r, std::int64_t k) const { return cuda::load_vec4(row(r) + k); }
    M2T_DEVICE float load(int r, std::int64_t k) const { return to_float(row(r)[k]); }
};

// sums[c * kRows + r] += this lane's share of the product of row r of `rows` with the weight row c, which begins at
// weight + c * apart; both have `length` elements.
template <int kCount, int kRows, typename T, typename Source>
M2T_DEVICE void add_products(const T* weight, std::int64_t apart, const Source& rows, std::int64_t length,
                             float (&sums)[kCount * kRows]) {
    const unsigned lane = threadIdx.x % kWarp;
    const std::int64_t whole = rows.wide() && begins_wide(weight, apart) ? length / 4 * 4 : 0;
    for (std::int64_t k = 4 * lane; k < whole; k += 4 * kWarp) {
        Vec4 w[kCount];
        M2T_UNROLL
        for (int c = 0; c < kCount; ++c) w[c] = load_vec4(weight + c * apart + k);
        M2T_UNROLL
        for (int r = 0; r < kRows; ++r) {
            const Vec4 v = rows.load_vec4(r, k);
            M2T_UNROLL
            for (int c = 0; c < kCount; ++c) {
                M2T_UNROLL
                for (int i = 0; i < 4; ++i) sums[c * kRows + r] = fmaf(w[c].x[i], v.x[i], sums[c * kRows + r]);
            }
        }
    }
    for (std::int64_t k = whole + lane; k < length; k += kWarp) {
        float w[kCount];
        M2T_UNROLL
        for (int c = 0; c < kCount; ++c) w[c] = to_float(weight[c * apart + k]);
        M2T_UNROLL
        for (int r = 0; r < kRows; ++r) {
            const float v = rows.load(r, k);
            M2T_UNROLL
            for (int c = 0; c < kCount; ++c) sums[c * kRows + r] = fmaf(w[c], v, sums[c * kRows + r]);
        }
    }
}

// The sums of x[0], x[1], ... over the warp: lane l gets that of x[l % kCount], a power of 2. Each step halves what is
// left, so that 32 sums take 31 shuffles.
template <int kCount>
M2T_DEVICE float warp_sums(float (&x)[kCount]) {
    static_assert(kCount <= 32 && (kCount & (kCount - 1)) == 0, "a power of 2");
    const unsigned lane = threadIdx.x % kWarp;
    M2T_UNROLL
    for (int half = kCount / 2; half > 0; half /= 2) {
        const bool upper = (lane & static_cast<unsigned>(half)) != 0;
        M2T_UNROLL
        for (int i = 0; i < half; ++i) {
            const float given = upper ? x[i] : x[i + half];
            x[i] = (upper ? x[i + half] : x[i]) + __shfl_xor_sync(kFullMask, given, static_cast<unsigned>(half));
        }
    }
    float sum = x[0];
    M2T_UNROLL
    for (unsigned step = kCount; step < kWarp; step *= 2) sum += __shfl_xor_sync(kFullMask, sum, step);
    return sum;
}

}  // namespace m2t::cuda
