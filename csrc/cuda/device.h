// What every kernel of this folder is written with: launches, blocks and clusters of threads, and two storage formats.
//
// Compiled by nvcc it is CUDA. Compiled as plain C++ (tests/cuda/emulation) the same sources run on the processor, so a
// kernel uses nothing of CUDA but what is named here and in the list below:
//   threadIdx.x, blockIdx.x|y|z, blockDim.x, gridDim.x|y|z; blocks have one dimension, whole warps;
//   __syncthreads(), __syncwarp(); __shfl_sync, __shfl_xor_sync, __shfl_down_sync and __ballot_sync with a full mask;
//   dynamic shared memory alone, through shared_memory<T>(): one allocation a block, 16-byte aligned;
//   next_number(), which gives out numbers: who gets which may change nothing but who works;
//   M2T_UNROLL before a loop whose bounds are constants, M2T_UNROLL_BY(4) before another;
//   expf, logf, powf, sqrtf, fmaf, fmaxf, fminf, fabsf, rsqrtf; no atomics on floats: sums have a fixed order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "cuda/place.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#define M2T_KERNEL __global__
#define M2T_DEVICE __device__ __forceinline__
#define M2T_ANYWHERE __host__ __device__ __forceinline__
#define M2T_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define M2T_PARAMETER const __grid_constant__  // read where it was passed, never copied
#define M2T_UNROLL _Pragma("unroll")
#define M2T_PRAGMA(words) _Pragma(#words)
#define M2T_UNROLL_BY(count) M2T_PRAGMA(unroll(count))
#else
#include "emulation.h"
#define M2T_KERNEL
#define M2T_DEVICE inline
#define M2T_ANYWHERE inline
#define M2T_BOUNDS(threads, blocks)
#define M2T_PARAMETER const
#define M2T_UNROLL
#define M2T_UNROLL_BY(count)
#define __restrict__ __restrict
#endif

namespace m2t::cuda {

// Compute capability times 100 of what is compiled, 0 for the host: for bounds of registers alone.
#if defined(__CUDA_ARCH__)
constexpr int kArchitecture = __CUDA_ARCH__;
#else
constexpr int kArchitecture = 0;
#endif

constexpr unsigned kWarp = 32;
constexpr unsigned kFullMask = 0xffffffffu;

#if defined(__CUDACC__)

using bfloat16 = __nv_bfloat16;

inline void check(cudaError_t status, const char* call) {
    if (status != cudaSuccess) {
        cudaGetLastError();  // the next call must not report it again
        throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status));
    }
}

// Launches kernel(arguments...); throws std::runtime_error with CUDA's own words where that fails.
template <typename... Parameters>
void launch(void (*kernel)(Parameters...), const Shape& shape, const Place& place,
            typename Given<Parameters>::type... arguments) {
    check(cudaSetDevice(place.device), "cudaSetDevice");
    if (shape.shared_bytes > 48 * 1024) {
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shape.shared_bytes)),
              "cudaFuncSetAttribute");
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(shape.blocks_x, shape.blocks_y, shape.blocks_z);
    config.blockDim = dim3(shape.threads);
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = reinterpret_cast<cudaStream_t>(place.stream);
    cudaLaunchAttribute attributes[2] = {};
    config.attrs = attributes;
    if (shape.cluster > 1) {
        if (shape.cluster > 8) {
            check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                       cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
                  "cudaFuncSetAttribute");
        }
        cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
        attribute.id = cudaLaunchAttributeClusterDimension;
        attribute.val.clusterDim.x = shape.cluster;
        attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    }
    int major = 0;
    if (shape.overlaps) {
        check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, place.device),
              "cudaDeviceGetAttribute");
    }
    if (major >= 9) {
        cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
        attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attribute.val.programmaticStreamSerializationAllowed = 1;
    }
    check(cudaLaunchKernelEx(&config, kernel, arguments...), "cudaLaunchKernelEx");
}

// How many clusters (blocks, if they are of one) of this shape the device runs at a time; 0 if it cannot run one.
template <typename... Parameters>
int resident_clusters(void (*kernel)(Parameters...), const Shape& shape, int device) {
    const auto* function = reinterpret_cast<const void*>(kernel);
    check(cudaSetDevice(device), "cudaSetDevice");
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          "cudaFuncSetAttribute");
    int count = 0, multiprocessors = 0;
    if (shape.cluster == 1) {
        check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&count, function, static_cast<int>(shape.threads),
                                                            shape.shared_bytes),
              "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
        check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
              "cudaDeviceGetAttribute");
        return count * multiprocessors;
    }
    if (shape.cluster > 8 &&
        cudaFuncSetAttribute(function, cudaFuncAttributeNonPortableClusterSizeAllowed, 1) != cudaSuccess) {
        cudaGetLastError();
        return 0;
    }
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = shape.cluster;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(shape.cluster);
    config.blockDim = dim3(shape.threads);
    config.dynamicSmemBytes = shape.shared_bytes;
    config.attrs = &attribute;
    config.numAttrs = 1;
    if (cudaOccupancyMaxActiveClusters(&count, function, &config) != cudaSuccess) {
        cudaGetLastError();
        return 0;
    }
    return count;
}

inline DeviceLimits limits_of(int device) {
    DeviceLimits limits = {};
    int major = 0, minor = 0;
    const auto read = [device](int& value, cudaDeviceAttr attribute) {
        check(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
    };
    read(limits.multiprocessors, cudaDevAttrMultiProcessorCount);
    read(limits.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin);
    read(major, cudaDevAttrComputeCapabilityMajor);
    read(minor, cudaDevAttrComputeCapabilityMinor);
    limits.capability = 10 * major + minor;
    return limits;
}

template <typename T>
__device__ __forceinline__ T* shared_memory() {
    extern __shared__ __align__(16) unsigned char m2t_shared_memory[];
    return reinterpret_cast<T*>(m2t_shared_memory);
}

// Waits for all blocks of the cluster, and makes what they wrote to global memory before visible to all after.
__device__ __forceinline__ void cluster_sync() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    __syncthreads();  // clusters of one block
#endif
}

// x, in a way that the compiler cannot look through: what is made of it is not made ahead of time and kept in
// registers.
__device__ __forceinline__ int fresh(int x) {
    asm volatile("" : "+r"(x));
    return x;
}

// The counter's number; the next one who asks gets the number after.
__device__ __forceinline__ int next_number(int* counter) { return atomicAdd(counter, 1); }

__device__ __forceinline__ unsigned cluster_size() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    unsigned n;
    asm volatile("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(n));
    return n;
#else
    return 1;
#endif
}

__device__ __forceinline__ unsigned cluster_rank() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    unsigned n;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(n));
    return n;
#else
    return 0;
#endif
}

// The hardware's 1 / x, wrong by a unit of the last place at most; 0 where it would be below the normal numbers.
__device__ __forceinline__ float approximate_reciprocal(float x) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

// The hardware's 2^x, relative error 2^-22; 0 where it would be below the normal numbers.
__device__ __forceinline__ float approximate_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The bits of a float32, and the float32 of these bits.
__device__ __forceinline__ unsigned bits_of(float x) { return __float_as_uint(x); }
__device__ __forceinline__ float float_of(unsigned bits) { return __uint_as_float(bits); }

// A row of a matrix whose rows are so many bytes apart, in one instruction. The compiler takes two or five where it
// moves the conversion to 64 bits out of a loop.
template <typename T>
__device__ __forceinline__ const T* row_at(const T* first, unsigned row, unsigned bytes) {
    std::uint64_t at;
    asm("mul.wide.u32 %0, %1, %2;" : "=l"(at) : "r"(row), "r"(bytes));
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(first) + at);
}

// The smaller number; NaN if x is.
__device__ __forceinline__ float at_most(float x, float most) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    float y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(most));
    return y;
#else
    return x > most ? most : x;
#endif
}

// The hardware's tanh, relative error 2^-11: for tensors that are stored shorter than float32.
__device__ __forceinline__ float approximate_tanh(float x) {
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Two numbers rounded to float16, the first in the lower half; sums += a b of the matrices that a warp's registers
// hold: a (16, 16) in float16, b (16, 8) in float16, sums (16, 8), laid out as mma.sync.m16n8k16 has them. sm_75 does
// it in two halves.
__device__ __forceinline__ unsigned pack_halves(float x, float y) {
    const __half2 packed = __floats2half2_rn(x, y);
    return *reinterpret_cast<const unsigned*>(&packed);
}

__device__ __forceinline__ void add_matrix_product(const unsigned (&a)[4], const unsigned (&b)[2], float (&sums)[4]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    for (int half = 0; half < 2; ++half) {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
    }
#endif
}

// The same with a and b in bfloat16, which no card before sm_80 multiplies.
__device__ __forceinline__ void add_bfloat16_product(const unsigned (&a)[4], const unsigned (&b)[2], float (&sums)[4]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
}

// The launch after this one may start, if it overlaps, once every block has come here.
__device__ __forceinline__ void release_next_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Waits until the launch before has ended, for a launch that overlaps it; what that one wrote is there after.
__device__ __forceinline__ void wait_for_last_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

#endif

M2T_DEVICE float to_float(float x) { return x; }

template <typename T>
M2T_DEVICE T from_float(float x);

template <>
M2T_DEVICE float from_float<float>(float x) {
    return x;
}

#if defined(__CUDACC__)
M2T_DEVICE float to_float(bfloat16 x) { return __bfloat162float(x); }

template <>
M2T_DEVICE bfloat16 from_float<bfloat16>(float x) {
    return __float2bfloat16_rn(x);
}
#else
M2T_DEVICE float to_float(bfloat16 x) { return x.value(); }

template <>
M2T_DEVICE bfloat16 from_float<bfloat16>(float x) {
    return bfloat16(x);
}
#endif

M2T_DEVICE float sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}

// The sum and the largest over a warp, in every lane; the order is the same in every run.
M2T_DEVICE float warp_sum(float x) {
    for (unsigned step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(kFullMask, x, step);
    return x;
}

M2T_DEVICE float warp_max(float x) {
    for (unsigned step = kWarp / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(kFullMask, x, step));
    return x;
}

}  // namespace m2t::cuda
