// What surrounds the matrix products of the gated decoder step, on a CUDA device.
#pragma once

#include <cstdint>

#include "cuda/place.h"

namespace m2t::cuda {

// x = tanh(x + bias) over (rows, columns); bias (columns).
template <typename T>
void bias_tanh(T* x, const T* bias, std::int64_t rows, std::int64_t columns, const Place& place);

}  // namespace m2t::cuda
