// Kernels with mistakes that the emulated device must catch, and one without.
#include "faults.h"

#include "cuda/vec4.h"

namespace m2t::cuda {
namespace {

// Each thread hands its number to its opposite: right with the barrier, dependent on the order without.
template <bool kBarrier>
void reverse(float* out) {
    auto* values = shared_memory<float>();
    values[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (kBarrier) __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = warp_sum(values[blockDim.x - 1 - threadIdx.x]);
}

// Each thread reads its opposite's number twice, and nothing keeps a fast warp from writing the second while a slow one
// has yet to read the first. Between them are more shuffles than other orders let one warp be ahead of another.
void ahead(float* out) {
    auto* values = shared_memory<float>();
    for (int round = 0; round < 2; ++round) {
        values[threadIdx.x] = static_cast<float>(round);
        __syncthreads();
        out[blockIdx.x * blockDim.x + threadIdx.x] += warp_sum(values[blockDim.x - 1 - threadIdx.x]);
    }
}

void half_a_warp(float*) {
    if (threadIdx.x < 16) __syncwarp();
}

void deadlock(float*) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        cluster_sync();
    }
}

void overrun(float*) { shared_memory<float>()[blockDim.x] = 1.0f; }

void odd_address(float* out) { out[0] = load_vec4(out + 1).x[0]; }

void early(float*) { release_next_launch(); }

// Each block leaves its number for the next of its cluster to read.
void around(float* out) {
    if (threadIdx.x == 0) out[blockIdx.x] = static_cast<float>(blockIdx.x);
    cluster_sync();
    const unsigned first = blockIdx.x - cluster_rank();
    const float next = out[first + (cluster_rank() + 1) % cluster_size()];
    cluster_sync();
    if (threadIdx.x == 0) out[blockIdx.x] = next;
}

}  // namespace

void run_trial(const std::string& name, const Trial& trial) {
    const auto kernel = name == "reverse"       ? reverse<true>
                        : name == "race"        ? reverse<false>
                        : name == "ahead"       ? ahead
                        : name == "half-a-warp" ? half_a_warp
                        : name == "deadlock"    ? deadlock
                        : name == "overrun"     ? overrun
                        : name == "odd-address" ? odd_address
                        : name == "early"       ? early
                                                : around;
    const Shape shape = {trial.blocks,   1, 1, trial.threads, trial.threads * sizeof(float), trial.cluster,
                         name == "early"};
    launch(kernel, shape, {0, 0}, trial.out);
}

}  // namespace m2t::cuda
