// Memory that belongs to one thread while kernels run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "common/buffer_pool.h"

namespace m2t {

// One piece of workspace for each thread, allocated before they start: they must not throw.
class Workspaces {
public:
    Workspaces(int threads, std::size_t bytes)
        : bytes_((bytes + 63) / 64 * 64), memory_(static_cast<std::size_t>(std::max(threads, 1)) * bytes_) {}

    unsigned char* of(int thread) const {
        return static_cast<unsigned char*>(memory_.data()) + static_cast<std::size_t>(thread) * bytes_;
    }

private:
    std::size_t bytes_;
    Buffer memory_;
};

// Lays arrays out one behind the other, each on a cache line of its own; from null it only measures.
class Layout {
public:
    explicit Layout(unsigned char* base) : base_(base) {}

    template <typename T>
    void take(T*& array, std::int64_t elements) {
        array = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + bytes_);
        bytes_ += (static_cast<std::size_t>(elements) * sizeof(T) + 63) / 64 * 64;
    }

    std::size_t bytes() const { return bytes_; }

private:
    unsigned char* base_;
    std::size_t bytes_ = 0;
};

}  // namespace m2t
