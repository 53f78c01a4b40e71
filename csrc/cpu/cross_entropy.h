// Cross entropy of logits with words, and its gradient: softmax minus one at the word.
#pragma once

#include <cstdint>

#include "common/bfloat16.h"
#include "common/isa.h"
#include "common/record.h"

namespace m2t {

template <typename T>
struct CrossEntropy {
    M2T_FIELDS(
        T* logits;                    // (rows, columns); overwritten
        const std::int64_t* targets;  // (rows), each within 0..columns - 1
        std::int64_t rows, columns;
        double* losses;            // (rows)
        T* gradient;               // (rows, columns), may be `logits`; or null
        BFloat16* short_gradient;  // in its place, or null
    )
};

template <typename T>
struct CrossEntropyKernels {
    void (*rows)(const CrossEntropy<T>& task, std::int64_t first, std::int64_t last);
};

M2T_DECLARE_KERNELS(CrossEntropyKernels, cross_entropy_kernels)

}  // namespace m2t
