// CUDA's thread model on a processor, for tests: the kernels of csrc/cuda run as plain C++.
//
// A block's threads are fibers on one system thread. A fiber runs until it waits at a barrier or a shuffle, then the
// next one runs; the order can be changed, so that a missing barrier shows as another result. The blocks of a cluster
// run side by side, clusters one after the other. Shared memory starts as NaN and is followed by a guard.
// Caught, as std::runtime_error: threads that wait for one another for ever, warps whose lanes wait at different
// places, writes behind shared memory, launches beyond a device's limits, vectors loaded from odd addresses, threads of
// an overlapping launch that never wait for the one before.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "cuda/place.h"

namespace m2t::cuda {

// bfloat16 in memory, rounded to nearest, ties to even.
struct bfloat16 {
    std::uint16_t bits;
    bfloat16() = default;
    explicit bfloat16(float x) {
        std::uint32_t word;
        std::memcpy(&word, &x, 4);
        bits = std::isnan(x) ? 0x7fff : static_cast<std::uint16_t>((word + 0x7fff + ((word >> 16) & 1)) >> 16);
    }
    float value() const {
        const std::uint32_t word = static_cast<std::uint32_t>(bits) << 16;
        float x;
        std::memcpy(&x, &word, 4);
        return x;
    }
};

namespace emulation {

struct Index {
    unsigned x, y, z;
};

// What the running fiber sees.
struct Thread {
    Index thread, block;
    unsigned cluster_rank;
    bool waited;  // for the launch before
};

// Every thread has a turn, until it waits, before one has another; with `warps` a whole warp has it, until it waits for
// others, and so may be far ahead of them.
enum class Order { forward, backward, shuffled, warps };

extern Thread* current;              // the running fiber's
extern Index block_size, grid_size;  // of the running launch
extern unsigned cluster_size;
extern DeviceLimits limits;                 // of the device that is emulated
inline double exponential_error = 0x1p-22;  // of approximate_exp2, relative
extern Order order;                         // in which the threads of a block take turns
extern std::uint64_t launches, switches;    // counted since the program started

// What a launch asked for. While `planning` launches are checked and noted, and do not run.
struct Planned {
    Index blocks;
    unsigned threads, cluster;
    std::size_t shared_bytes;
};
extern bool planning;
extern std::vector<Planned> planned;

void* shared_memory();
void block_barrier();
void cluster_barrier();
// Every lane gives `bytes` bytes; returns those of all lanes, valid until the lane's next exchange.
const unsigned char* warp_exchange(const void* value, std::size_t bytes, unsigned mask);
// Ends the launch with this error.
[[noreturn]] void stop(const char* text);
void check_aligned(const void* address, std::size_t bytes);
// Runs `body` once for every thread of the launch.
void run(const Index& blocks, unsigned threads, std::size_t shared_bytes, unsigned cluster,
         const std::function<void()>& body);

template <typename T>
T lane_value(T value, unsigned mask, unsigned lane) {
    T result;
    std::memcpy(&result, warp_exchange(&value, sizeof(T), mask) + lane * sizeof(T), sizeof(T));
    return result;
}

}  // namespace emulation

#define threadIdx (::m2t::cuda::emulation::current->thread)
#define blockIdx (::m2t::cuda::emulation::current->block)
#define blockDim (::m2t::cuda::emulation::block_size)
#define gridDim (::m2t::cuda::emulation::grid_size)

inline void __syncthreads() { emulation::block_barrier(); }

template <typename T>
T __shfl_sync(unsigned mask, T value, unsigned lane) {
    return emulation::lane_value(value, mask, lane % 32);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, unsigned lanes) {
    return emulation::lane_value(value, mask, (threadIdx.x % 32) ^ lanes);
}

// A lane near the end, whose partner does not exist, keeps its own value.
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
    const unsigned lane = threadIdx.x % 32;
    return emulation::lane_value(value, mask, lane + delta < 32 ? lane + delta : lane);
}

inline unsigned __ballot_sync(unsigned mask, bool vote) {
    const unsigned char given = vote;
    const unsigned char* votes = emulation::warp_exchange(&given, 1, mask);
    unsigned result = 0;
    for (unsigned lane = 0; lane < 32; ++lane) result |= static_cast<unsigned>(votes[lane] != 0) << lane;
    return result;
}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
    const unsigned char nothing = 0;
    emulation::warp_exchange(&nothing, 1, mask);
}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
// y, wrong by up to `error` of its value in either direction, as the hardware's approximations are.
inline float wrong_by(double error, double y) {
    const float rounded = static_cast<float>(y);
    std::uint32_t word;
    std::memcpy(&word, &rounded, 4);
    return static_cast<float>(y * (1.0 + error * (static_cast<double>(word % 255) / 127.0 - 1.0)));
}
inline float normal_or_0(float y) { return std::fabs(y) < 0x1p-126f ? 0.0f : y; }
inline float approximate_reciprocal(float x) { return normal_or_0(wrong_by(0x1p-23, 1.0 / x)); }
inline float approximate_exp2(float x) {
    return normal_or_0(wrong_by(emulation::exponential_error, std::exp2(static_cast<double>(x))));
}
inline float at_most(float x, float most) { return x > most ? most : x; }
inline float approximate_tanh(float x) { return wrong_by(0x1p-11, std::tanh(static_cast<double>(x))); }

inline unsigned bits_of(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
inline float float_of(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

template <typename T>
const T* row_at(const T* first, unsigned row, unsigned bytes) {
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(first) + std::uint64_t{row} * bytes);
}

// float16 in memory, rounded to nearest, ties to even.
inline std::uint16_t half_of(float x) {
    const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const float size = std::fabs(x);
    if (std::isnan(x)) return 0x7e00;
    if (size < 0x1p-14f) return sign | static_cast<std::uint16_t>(std::nearbyint(size * 0x1p24f));
    std::uint32_t word;
    std::memcpy(&word, &size, 4);
    word += 0xfff + ((word >> 13) & 1);  // a carry goes to the exponent
    return sign | static_cast<std::uint16_t>(word >= 0x47800000 ? 0x7c00 : (word - 0x38000000) >> 13);
}
inline float half_value(std::uint32_t bits) {
    const std::uint32_t exponent = bits >> 10 & 31, digits = bits & 1023;
    const float size = exponent == 0 ? std::ldexp(static_cast<float>(digits), -24)
                       : exponent == 31
                           ? (digits != 0 ? NAN : INFINITY)
                           : std::ldexp(static_cast<float>(1024 + digits), static_cast<int>(exponent) - 25);
    return bits & 0x8000 ? -size : size;
}
inline unsigned pack_halves(float x, float y) { return half_of(x) | static_cast<unsigned>(half_of(y)) << 16; }
// A lane (g, t) holds a's rows g and g + 8, b's column g and the sums' columns 2t and 2t + 1.
template <typename Value>
void add_product(const unsigned (&a)[4], const unsigned (&b)[2], float (&sums)[4], Value&& value) {
    const unsigned lane = threadIdx.x % 32;
    unsigned all_a[32][4], all_b[32][2];
    std::memcpy(all_a, emulation::warp_exchange(a, sizeof(a), 0xffffffffu), sizeof(all_a));
    std::memcpy(all_b, emulation::warp_exchange(b, sizeof(b), 0xffffffffu), sizeof(all_b));
    for (unsigned i = 0; i < 4; ++i) {
        for (unsigned k = 0; k < 16; ++k) {
            const unsigned shift = k % 2 * 16, t = k % 8 / 2, upper = k / 8;
            const float x = value(all_a[lane / 4 * 4 + t][2 * upper + i / 2] >> shift & 0xffff);
            const float y = value(all_b[(lane % 4 * 2 + i % 2) * 4 + t][upper] >> shift & 0xffff);
            sums[i] += x * y;
        }
    }
}
inline void add_matrix_product(const unsigned (&a)[4], const unsigned (&b)[2], float (&sums)[4]) {
    add_product(a, b, sums, half_value);
}
inline void add_bfloat16_product(const unsigned (&a)[4], const unsigned (&b)[2], float (&sums)[4]) {
    add_product(a, b, sums, [](unsigned bits) { return float_of(bits << 16); });
}

template <typename T>
T* shared_memory() {
    return static_cast<T*>(emulation::shared_memory());
}

inline void cluster_sync() { emulation::cluster_barrier(); }
inline unsigned cluster_size() { return emulation::cluster_size; }
inline unsigned cluster_rank() { return emulation::current->cluster_rank; }
inline void release_next_launch() {}
inline void wait_for_last_launch() { emulation::current->waited = true; }
inline DeviceLimits limits_of(int) { return emulation::limits; }
inline int fresh(int x) { return x; }
inline int next_number(int* counter) { return (*counter)++; }

template <typename... Parameters>
void launch(void (*kernel)(Parameters...), const Shape& shape, const Place&,
            typename Given<Parameters>::type... arguments) {
    emulation::run({shape.blocks_x, shape.blocks_y, shape.blocks_z}, shape.threads, shape.shared_bytes, shape.cluster,
                   [&] {
                       emulation::current->waited = !shape.overlaps;
                       kernel(arguments...);
                       if (!emulation::current->waited) emulation::stop("a thread did not wait for the launch before");
                   });
}

// As if a multiprocessor always ran two blocks.
template <typename... Parameters>
int resident_clusters(void (*)(Parameters...), const Shape& shape, int) {
    const bool runs = shape.cluster == 1 || emulation::limits.capability >= 90;
    return runs ? 2 * emulation::limits.multiprocessors / static_cast<int>(shape.cluster) : 0;
}

}  // namespace m2t::cuda
