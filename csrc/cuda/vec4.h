// Four numbers at a time, where memory allows it.
#pragma once

#include "cuda/device.h"

namespace m2t::cuda {

struct alignas(16) Vec4 {
    float x[4];
};

// Sixteen bytes that are no float32.
struct alignas(16) Bits4 {
    unsigned x[4];
};

M2T_DEVICE Bits4 load_bits4(const Bits4* p) {
#if defined(__CUDACC__)
    const uint4 v = *reinterpret_cast<const uint4*>(p);
    return {{v.x, v.y, v.z, v.w}};
#else
    emulation::check_aligned(p, sizeof(Bits4));
    return *p;
#endif
}

// The four at an address that is a multiple of their size.
#if defined(__CUDACC__)

M2T_DEVICE Vec4 load_vec4(const float* p) {
    const float4 v = *reinterpret_cast<const float4*>(p);
    return {{v.x, v.y, v.z, v.w}};
}

M2T_DEVICE Vec4 load_vec4(const bfloat16* p) {
    const uint2 v = *reinterpret_cast<const uint2*>(p);  // bfloat16 is the upper half of a float32
    return {{__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u), __uint_as_float(v.y << 16),
             __uint_as_float(v.y & 0xffff0000u)}};
}

M2T_DEVICE void store_vec4(float* p, const Vec4& v) {
    *reinterpret_cast<float4*>(p) = make_float4(v.x[0], v.x[1], v.x[2], v.x[3]);
}

#else

template <typename T>
Vec4 load_vec4(const T* p) {
    emulation::check_aligned(p, 4 * sizeof(T));
    return {{to_float(p[0]), to_float(p[1]), to_float(p[2]), to_float(p[3])}};
}

inline void store_vec4(float* p, const Vec4& v) {
    emulation::check_aligned(p, sizeof(v.x));
    for (int i = 0; i < 4; ++i) p[i] = v.x[i];
}

#endif

// The values at p, `left` of which exist, 0 for the others; at once if `aligned`: then all four exist.
template <typename T>
M2T_DEVICE Vec4 load_vec4(const T* p, std::int64_t left, bool aligned) {
    if (aligned) return load_vec4(p);
    Vec4 v;
    M2T_UNROLL
    for (int i = 0; i < 4; ++i) v.x[i] = i < left ? to_float(p[i]) : 0.0f;
    return v;
}

// Whether rows from p on, `step` elements apart, all begin where load_vec4 may read.
template <typename T>
M2T_ANYWHERE bool begins_wide(const T* p, std::int64_t step) {
    return reinterpret_cast<std::uintptr_t>(p) % (4 * sizeof(T)) == 0 && step % 4 == 0;
}

}  // namespace m2t::cuda
