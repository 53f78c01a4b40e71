// Loops that do one thing at the processor's own rate: what the time of an op is compared with.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace m2t {

template <typename T>
struct RateKernels {
    // At least `count` multiplications, each with its addition, in registers; returns how many.
    std::int64_t (*multiply_adds)(std::int64_t count, T* sink);
    // At least `count` tanh of sums, weighted and added up in the cheapest form there is: from exponentials that are
    // ready, two fractions over one denominator, so one division for two. Returns how many.
    std::int64_t (*tanh_sums)(std::int64_t count, T* sink);
};

M2T_DECLARE_KERNELS(RateKernels, rate_kernels)

}  // namespace m2t
