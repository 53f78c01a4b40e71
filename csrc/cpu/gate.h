// What surrounds the matrix products of the gated decoder step (eq. 7, 9, 10): gate, blend and tanh, and their
// gradient.
//
// The products themselves are torch's. Every array is a matrix with contiguous rows, one row for each word.
#pragma once

#include <cstdint>

#include "common/isa.h"
#include "common/record.h"

namespace m2t {

struct GateSizes {
    M2T_FIELDS(
        std::int64_t rows, hidden, word, attention;  // N = B * L, C, E, D
    )
    std::int64_t mixture_input() const { return word + attention + hidden; }
};

template <typename T>
struct GateInputs {
    M2T_FIELDS(
        const T *hidden, *word, *mixed_word;                         // (N, C), (N, E), (N, E)
        const T *gate_hidden_weight, *gate_word_weight, *gate_bias;  // (C), (E), (1): eq. 7
        const T *context_product, *context_bias;                     // (N, D), (D): W_c c, b_c
        const T *language_product, *language_bias;                   // (N, D), (D): W_r hbar, b_r
        double force_gate;                                           // replaces the gate, or NaN
    )
};

template <typename T>
struct GateForward {
    M2T_FIELDS(
        T *mixture_input, *gate, *logit;  // (N, E+D+C) [mixed word; adaptive context; hidden], (N), (N)
    )
};

template <typename T>
struct GateBackward {
    M2T_FIELDS(
        const T *gate, *d_mixture_input;                      // (N), (N, E+D+C)
        const T *d_gate, *d_logit;                            // (N), null where the output was not used
        T* mixture_input;                                     // (N, E+D+C), computed again
        T *d_context, *d_language;                            // (N, D): gradients of the products
        T *d_hidden, *d_word, *d_mixed_word, *d_total_logit;  // (N, C), (N, E), (N, E), (N)
    )
};

template <typename T>
struct TanhGradient {
    M2T_FIELDS(
        const T *grad, *y;  // (count)
        T* out;
        std::int64_t count;
    )
};

// Words [first, last) of each.
template <typename T>
struct GateKernels {
    void (*forward)(const GateSizes&, const GateInputs<T>&, const GateForward<T>&, std::int64_t first,
                    std::int64_t last);
    void (*backward)(const GateSizes&, const GateInputs<T>&, const GateBackward<T>&, std::int64_t first,
                     std::int64_t last);
    // x = tanh(x + bias), rows of `columns` elements.
    void (*bias_tanh)(T* x, const T* bias, std::int64_t columns, std::int64_t first, std::int64_t last);
    // out = grad * (1 - y^2), elements [first, last): the gradient of y = tanh(x).
    void (*tanh_gradient)(const T* grad, const T* y, T* out, std::int64_t first, std::int64_t last);
};

M2T_DECLARE_KERNELS(GateKernels, gate_kernels)

}  // namespace m2t
