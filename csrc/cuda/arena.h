// Gives out the pieces of one block of memory; with none it only measures.
#pragma once

#include <cstdint>

#include "cuda/device.h"

namespace m2t::cuda {

class Arena {
public:
    // Pieces begin at multiples of `unit` bytes from the start.
    M2T_ANYWHERE explicit Arena(void* memory, std::int64_t unit = 256)
        : memory_(static_cast<char*>(memory)), unit_(unit) {}

    template <typename X>
    M2T_ANYWHERE void take(X*& piece, std::int64_t count) {
        piece = reinterpret_cast<X*>(memory_ + used_);
        used_ += (count * static_cast<std::int64_t>(sizeof(X)) + unit_ - 1) / unit_ * unit_;
    }

    M2T_ANYWHERE std::int64_t used() const { return used_; }

private:
    char* memory_;
    std::int64_t unit_, used_ = 0;
};

}  // namespace m2t::cuda
