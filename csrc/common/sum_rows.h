// Adds up rows that several pieces of work have left.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace m2t {

// Sums `rows` rows of `size` numbers in order, in double.
template <typename T>
void sum_rows(const T* from, std::int64_t rows, std::int64_t size, T* to) {
    std::vector<double> total(static_cast<std::size_t>(size), 0.0);
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < size; ++j) total[static_cast<std::size_t>(j)] += from[i * size + j];
    }
    std::transform(total.begin(), total.end(), to, [](double x) { return static_cast<T>(x); });
}

}  // namespace m2t
