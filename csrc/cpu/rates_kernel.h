// Bare loops. Included once for each instruction set: see isa.h.
#pragma once

#include "common/vector_math.h"
#include "cpu/packed_product.h"
#include "cpu/rates.h"

namespace m2t {
namespace M2T_ISA {

template <typename T>
std::int64_t multiply_adds(std::int64_t count, T* sink) {
    // As many sums as a product holds in registers.
    Vec<T> total[kPanelRows][kPanelVectors];
    for (int i = 0; i < kPanelRows; ++i) {
        for (int v = 0; v < kPanelVectors; ++v) total[i][v] = all(T(i + v));
    }
    const Vec<T> factor = in_register(all(T(0.5))), term = in_register(all(T(1)));
    std::int64_t made = 0;
    for (; made < count; made += kPanelRows * kPanelVectors * lanes<T>()) {
        for (int i = 0; i < kPanelRows; ++i) {
            for (int v = 0; v < kPanelVectors; ++v) total[i][v] = total[i][v] * factor + term;
        }
    }
    Vec<T> all_of_them = {};
    for (int i = 0; i < kPanelRows; ++i) {
        for (int v = 0; v < kPanelVectors; ++v) all_of_them += total[i][v];
    }
    *sink = sum<T>(all_of_them);
    return made;
}

template <typename T>
std::int64_t tanh_sums(std::int64_t count, T* sink) {
    constexpr std::int64_t W = lanes<T>(), columns = 256;
    T keys[columns], queries[columns], weights[columns];
    for (std::int64_t i = 0; i < columns; ++i) {
        keys[i] = T(1) + T(i) / columns;
        queries[i] = T(2) - T(i) / columns;
        weights[i] = T(i % 7) / 7;
    }
    Vec<T> total[4] = {};
    std::int64_t made = 0;
    for (; made < count; made += columns) {
        for (std::int64_t i = 0; i < columns; i += 2 * W) {
            const Vec<T> a = load(keys + i) * load(queries + i) + T(1);
            const Vec<T> b = load(keys + i + W) * load(queries + i + W) + T(1);
            const Vec<T> both = load(weights + i) * b + load(weights + i + W) * a;
            total[i / (2 * W) % 4] += quotient(both, a * b);
        }
#if defined(__GNUC__)
        // As if the arrays had changed: else a compiler computes the sums once.
        __asm__ volatile("" : : "r"(keys), "r"(queries), "r"(weights) : "memory");
#endif
    }
    *sink = sum<T>(total[0] + total[1] + total[2] + total[3]);
    return made;
}

template <typename T>
RateKernels<T> rate_kernels() {
    return {&multiply_adds<T>, &tanh_sums<T>};
}

template RateKernels<float> rate_kernels<float>();
template RateKernels<double> rate_kernels<double>();

}  // namespace M2T_ISA
}  // namespace m2t
