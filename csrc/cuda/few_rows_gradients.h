// The products of a gradient that has few rows: with weight matrices, and with the rows that met them.
#pragma once

#include <cstdint>

#include "common/record.h"
#include "cuda/place.h"

namespace m2t::cuda {

constexpr int kLargestBatch = 6;  // products of one launch

// Rows (N, J) of a gradient, N of the launch. Where tanh is not null the gradient is that of y = tanh(x), and means
// that of x: d * (1 - tanh^2). Where d is null it is 0.
template <typename T>
struct GradientRows {
    M2T_FIELDS(
        const T *d, *tanh;
        std::int64_t columns;  // J
    )
};

// out (N, K) = add + rows @ weight, for weight (J, K); add may be null.
template <typename T>
struct RowsProduct {
    M2T_FIELDS(
        GradientRows<T> rows;
        const T *weight, *add;
        T* out;
        std::int64_t columns;  // K
    )
};

template <typename T>
struct RowsProducts {
    RowsProduct<T> jobs[kLargestBatch];
    int count;
    std::int64_t rows;
};

// d_weight (J, K) = rows^T @ x for x (N, K), and d_bias (J) the sum of the rows, or null.
template <typename T>
struct OuterProduct {
    M2T_FIELDS(
        GradientRows<T> rows;
        const T* x;
        T *d_weight, *d_bias;
        std::int64_t columns;  // K
    )
};

template <typename T>
struct OuterProducts {
    OuterProduct<T> jobs[kLargestBatch];
    int count;
    std::int64_t rows;
};

template <typename T>
void rows_products(const RowsProducts<T>& products, const Place& place);

template <typename T>
void outer_products(const OuterProducts<T>& products, const Place& place);

}  // namespace m2t::cuda
