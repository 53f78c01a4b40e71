// Cross entropy of logits with words, and its gradient: softmax minus one at the word.
#pragma once

#include <cstdint>

#include "common/bfloat16.h"
#include "common/isa.h"

namespace pybind11 {
class module_;
}

namespace m2t {

template <typename T>
struct CrossEntropy {
    T* logits;                    // (rows, columns); overwritten
    const std::int64_t* targets;  // (rows), each within 0..columns - 1
    std::int64_t columns;
    double* losses;            // (rows)
    T* gradient;               // (rows, columns), may be `logits`; or null
    BFloat16* short_gradient;  // in its place, or null
};

template <typename T>
struct CrossEntropyKernels {
    void (*rows)(const CrossEntropy<T>& task, std::int64_t first, std::int64_t last);
};

M2T_DECLARE_KERNELS(CrossEntropyKernels, cross_entropy_kernels)

// Adds cross_entropy to the Python module.
void bind_cross_entropy(pybind11::module_& module);

}  // namespace m2t
