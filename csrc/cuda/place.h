// Where a kernel is launched, and how many threads: what launchers, functions and the emulation share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/record.h"

namespace m2t::cuda {

// A device's number and a stream, cudaStream_t as an integer: torch's current one.
struct Place {
    M2T_FIELDS(
        int device;
        std::uintptr_t stream;
    )
};

struct Shape {
    unsigned blocks_x, blocks_y, blocks_z;
    unsigned threads;          // of a block, a multiple of 32
    std::size_t shared_bytes;  // of a block
    unsigned cluster = 1;      // blocks along x that run together and may wait for one another; above 1 from sm_90 on
    // May start while the launch before it still runs; every thread calls wait_for_last_launch() before it reads what
    // that launch wrote, or writes anything. From sm_90 on; elsewhere it starts when that launch has ended.
    bool overlaps = false;
};

// What a block may use of a device: its multiprocessors, a block's shared memory, its compute capability times 10.
struct DeviceLimits {
    int multiprocessors, shared_bytes, capability;
};

// A parameter that template deduction leaves alone.
template <typename T>
struct Given {
    using type = T;
};

}  // namespace m2t::cuda
