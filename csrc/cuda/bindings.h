// Python's way to the CUDA kernels.
#pragma once

#include "common/bindings.h"

namespace m2t::cuda {

// Adds the functions of all ops, each as NAME_float32 and NAME_bfloat16.
void bind_all(Bindings& to);

}  // namespace m2t::cuda
