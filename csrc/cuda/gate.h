// The gated decoder step (eq. 7, 9, 10) on a CUDA device: of a few rows the whole step, of many what surrounds torch's
// products.
//
// Every array is a matrix with contiguous rows, one row for each word.
#pragma once

#include <cstdint>

#include "common/record.h"
#include "cuda/place.h"

namespace m2t::cuda {

struct GateSizes {
    M2T_FIELDS(
        std::int64_t rows, features, hidden, word, attention, mixture;  // N = B * L, H, C, E, D, M
        std::int64_t mixture_input;                                     // E + D + C
    )
};

// The whole step. motion and language (N, D) are the two tanh of eq. 9; where features and gate are null, they are all
// that is made.
template <typename T>
struct GateStep {
    M2T_FIELDS(
        const T *context, *hidden, *top, *word, *mixed_word;         // (N, H), (N, C), (N, C), (N, E), (N, E)
        const T *gate_hidden_weight, *gate_word_weight, *gate_bias;  // (C), (E), (1): eq. 7
        const T *context_weight, *context_bias;                      // (D, H), (D)
        const T *language_weight, *language_bias;                    // (D, C), (D)
        const T *mixture_weight, *mixture_bias;                      // (M, E+D+C), (M)
        T *motion, *language;
        T *features, *gate, *logit;  // (N, M), (N), (N)
        float force_gate;            // replaces the gate, or NaN
    )
};

template <typename T>
void gate_step(const GateSizes& n, const GateStep<T>& step, const Place& place);

// Between the products: gate, blend and the input of the mixture. Where a bias of eq. 9 is null, its product is what
// tanh already made of both.
template <typename T>
struct GateInputs {
    M2T_FIELDS(
        const T *hidden, *word, *mixed_word;                         // (N, C), (N, E), (N, E)
        const T *gate_hidden_weight, *gate_word_weight, *gate_bias;  // (C), (E), (1): eq. 7
        const T *context_product, *context_bias;                     // (N, D), (D): W_c c, b_c
        const T *language_product, *language_bias;                   // (N, D), (D): W_r hbar, b_r
        float force_gate;                                            // replaces the gate, or NaN
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
void gate_forward(const GateSizes& n, const GateInputs<T>& in, const GateForward<T>& out, const Place& place);

template <typename T>
void gate_backward(const GateSizes& n, const GateInputs<T>& in, const GateBackward<T>& out, const Place& place);

// x = tanh(x + bias), in place.
template <typename T>
struct BiasTanh {
    M2T_FIELDS(
        T* x;           // (rows, columns)
        const T* bias;  // (columns)
        std::int64_t rows, columns;
    )
};

template <typename T>
void bias_tanh(const BiasTanh<T>& task, const Place& place);

// out = grad * (1 - y^2): the gradient of y = tanh(x).
template <typename T>
struct TanhGradient {
    M2T_FIELDS(
        const T *grad, *y;  // (count)
        T* out;
        std::int64_t count;
    )
};

template <typename T>
void tanh_gradient(const TanhGradient<T>& task, const Place& place);

}  // namespace m2t::cuda
