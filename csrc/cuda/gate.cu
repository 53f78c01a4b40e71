// Kernels of the gated decoder step.
#include "cuda/gate.h"

#include "cuda/device.h"

namespace m2t::cuda {
namespace {

constexpr unsigned kThreads = 256;

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1)
    bias_tanh_kernel(T* __restrict__ x, const T* __restrict__ bias, std::int64_t rows, std::int64_t columns) {
    const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < rows * columns; i += step) {
        x[i] = from_float<T>(exact_tanh(to_float(x[i]) + to_float(bias[i % columns])));
    }
}

}  // namespace

template <typename T>
void bias_tanh(T* x, const T* bias, std::int64_t rows, std::int64_t columns, const Place& place) {
    if (rows * columns == 0) return;
    const std::int64_t blocks = (rows * columns + kThreads - 1) / kThreads;
    launch(bias_tanh_kernel<T>, {static_cast<unsigned>(blocks < 65535 ? blocks : 65535), 1, 1, kThreads, 0}, place, x, bias,
           rows, columns);
}

template void bias_tanh(float*, const float*, std::int64_t, std::int64_t, const Place&);
template void bias_tanh(bfloat16*, const bfloat16*, std::int64_t, std::int64_t, const Place&);

}  // namespace m2t::cuda
