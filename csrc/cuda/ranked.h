// The largest of a warp's numbers, and where it stands.
#pragma once

#include "cuda/device.h"

namespace m2t::cuda {

// A number, and where it stands: of equal ones the first counts as larger. NaN never does.
struct Ranked {
    float value;
    int at;
};

M2T_DEVICE Ranked larger(const Ranked& a, const Ranked& b) {
    return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a;
}

M2T_DEVICE Ranked warp_largest(Ranked x) {
    M2T_UNROLL
    for (unsigned step = 16; step > 0; step /= 2) {
        const Ranked other = {__shfl_xor_sync(kFullMask, x.value, step), __shfl_xor_sync(kFullMask, x.at, step)};
        x = larger(x, other);
    }
    return x;
}

constexpr int kNowhere = 0x7fffffff;

}  // namespace m2t::cuda
