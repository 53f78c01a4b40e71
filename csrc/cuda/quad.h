// Four values at a time, where memory allows it; and the tanh of attention's scores.
#pragma once

#include "cuda/device.h"

namespace m2t::cuda {

struct Quad {
    float x[4];
};

// The four values at an address that is a multiple of their size.
template <typename T>
M2T_DEVICE Quad aligned_quad(const T* p) {
    Quad v;
    load_4(p, v.x);
    return v;
}

#if defined(__CUDACC__)

M2T_DEVICE void store_quad(float* p, const Quad& v) {
    *reinterpret_cast<float4*>(p) = make_float4(v.x[0], v.x[1], v.x[2], v.x[3]);
}

// tanh to within 3e-7 of 1, from the hardware's exponential and division: a score sums hundreds of them.
M2T_DEVICE float score_tanh(float x) { return 1.0f - __fdividef(2.0f, __expf(2.0f * x) + 1.0f); }

#else

inline void store_quad(float* p, const Quad& v) {
    emulation::check_aligned(p, sizeof(v.x));
    for (int i = 0; i < 4; ++i) p[i] = v.x[i];
}

inline float score_tanh(float x) { return 1.0f - 2.0f / (expf(2.0f * x) + 1.0f); }

#endif

// The values at p, `left` of which exist, 0 for the others; at once if `aligned`: then all four exist.
template <typename T>
M2T_DEVICE Quad load_quad(const T* p, int left, bool aligned) {
    if (aligned) return aligned_quad(p);
    Quad v;
    M2T_UNROLL
    for (int i = 0; i < 4; ++i) v.x[i] = i < left ? to_float(p[i]) : 0.0f;
    return v;
}

}  // namespace m2t::cuda
