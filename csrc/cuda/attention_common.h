// What the attention's kernels share: the frames that count, and whole divisions.
#pragma once

#include "cuda/attention.h"
#include "cuda/tanh.h"
#include "cuda/vec4.h"

namespace m2t::cuda {

M2T_DEVICE std::int64_t valid_frames(const std::int64_t* lengths, std::int64_t b, std::int64_t frames) {
    const std::int64_t length = lengths[b];
    return length < 0 ? 0 : length < frames ? length : frames;
}

M2T_ANYWHERE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

M2T_ANYWHERE std::int64_t ceiling(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace m2t::cuda
