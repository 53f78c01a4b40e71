// Cross entropy of some rows of logits. Included once for each instruction set: see isa.h.
#pragma once

#include "common/vector_math.h"
#include "cpu/attention_words.h"
#include "cpu/cross_entropy.h"

namespace m2t {
namespace M2T_ISA {

// Rounded to nearest, ties to even; NaN stays NaN.
inline BFloat16 shortened(float narrow) {
    std::uint32_t bits;
    std::memcpy(&bits, &narrow, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
    return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

template <typename T>
void cross_entropy_rows(const CrossEntropy<T>& task, std::int64_t first, std::int64_t last) {
    constexpr std::int64_t W = lanes<T>();
    for (std::int64_t row = first; row < last; ++row) {
        T* x = task.logits + row * task.columns;
        const std::int64_t target = task.targets[row];
        const T at_target = x[target];
        // Four maxima and sums, so that no addition waits for the one before.
        Vec<T> most[4];
        std::fill(most, most + 4, all(-std::numeric_limits<T>::infinity()));
        std::int64_t j = 0;
        for (; j + 4 * W <= task.columns; j += 4 * W) {
            for (int v = 0; v < 4; ++v) {
                const Vec<T> y = load(x + j + v * W);
                most[v] = most[v] > y ? most[v] : y;
            }
        }
        T most_of_all = -std::numeric_limits<T>::infinity();
        for (int v = 0; v < 4; ++v) {
            T lane[W];
            store(lane, most[v]);
            most_of_all = std::max(most_of_all, largest(lane, W));
        }
        for (std::int64_t k = j; k < task.columns; ++k) most_of_all = std::max(most_of_all, x[k]);

        double total = 0;
        Vec<T> sums[4] = {};
        for (j = 0; j < task.columns; j += W) {
            const std::int64_t count = std::min(W, task.columns - j);
            Vec<T> e = exp_nonpositive<T>(load_first(x + j, count) - all(most_of_all));
            store_first(x + j, e, count);
            if (count < W) e = load_first(x + j, count);
            sums[j / W % 4] += e;
        }
        for (int v = 0; v < 4; ++v) total += sum_in_double(sums[v]);
        task.losses[row] = std::log(total) + static_cast<double>(most_of_all) - static_cast<double>(at_target);
        const T scale = static_cast<T>(1 / total);
        if (task.gradient != nullptr) {
            T* to = task.gradient + row * task.columns;
            for (j = 0; j < task.columns; ++j) to[j] = x[j] * scale;
            to[target] -= T(1);
        } else if (task.short_gradient != nullptr) {
            BFloat16* to = task.short_gradient + row * task.columns;
            const T of_target = x[target] * scale - T(1);
            for (j = 0; j < task.columns; ++j) to[j] = shortened(static_cast<float>(x[j] * scale));
            to[target] = shortened(static_cast<float>(of_target));
        }
    }
}

template <typename T>
CrossEntropyKernels<T> cross_entropy_kernels() {
    return {&cross_entropy_rows<T>};
}

template CrossEntropyKernels<float> cross_entropy_kernels<float>();
template CrossEntropyKernels<double> cross_entropy_kernels<double>();

}  // namespace M2T_ISA
}  // namespace m2t
