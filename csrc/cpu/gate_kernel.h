// Gate, blend and tanh of some words. Included once for each instruction set: see isa.h.
#pragma once

#include "common/vector_math.h"
#include "cpu/gate.h"

namespace m2t {
namespace M2T_ISA {

// Sum of a[i] * b[i], its last additions in double.
template <typename T>
double dot(const T* a, const T* b, std::int64_t n) {
    constexpr std::int64_t W = lanes<T>();
    Vec<T> total = {};
    for (std::int64_t i = 0; i < n; i += W) {
        const std::int64_t count = std::min(W, n - i);
        total += load_first(a + i, count) * load_first(b + i, count);
    }
    return sum_in_double(total);
}

template <typename T>
void bias_tanh(T* x, const T* bias, std::int64_t columns, std::int64_t first, std::int64_t last) {
    constexpr std::int64_t W = lanes<T>();
    for (std::int64_t row = first; row < last; ++row) {
        T* y = x + row * columns;
        for (std::int64_t i = 0; i < columns; i += W) {
            const std::int64_t count = std::min(W, columns - i);
            store_first(y + i, tanh(load_first(y + i, count) + load_first(bias + i, count)), count);
        }
    }
}

template <typename T>
void tanh_gradient(const T* grad, const T* y, T* out, std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) out[i] = grad[i] * (T(1) - y[i] * y[i]);
}

// Eq. 7.
template <typename T>
void gate_of_word(const GateSizes& n, const GateInputs<T>& in, std::int64_t row, const GateForward<T>& out) {
    const double logit = dot(in.hidden + row * n.hidden, in.gate_hidden_weight, n.hidden) +
                         dot(in.word + row * n.word, in.gate_word_weight, n.word) + in.gate_bias[0];
    out.logit[row] = static_cast<T>(logit);
    const double gate = std::isnan(in.force_gate) ? 1 / (1 + std::exp(-logit)) : in.force_gate;
    out.gate[row] = static_cast<T>(gate);
}

// The input of the mixture: [mixed word; gate * motion + (1 - gate) * language; hidden] (eq. 9 and 10). One vector of
// motion and language after the other goes to visit(i, count, motion, language), `count` lanes of each valid.
template <typename T, typename Visit>
void blend(const GateSizes& n, const GateInputs<T>& in, std::int64_t row, T gate, T* mixture_input,
           const Visit& visit) {
    constexpr std::int64_t W = lanes<T>();
    std::copy_n(in.mixed_word + row * n.word, n.word, mixture_input);
    std::copy_n(in.hidden + row * n.hidden, n.hidden, mixture_input + n.word + n.attention);
    T* adaptive = mixture_input + n.word;
    const T* context = in.context_product + row * n.attention;
    const T* language = in.language_product + row * n.attention;
    for (std::int64_t i = 0; i < n.attention; i += W) {
        const std::int64_t count = std::min(W, n.attention - i);
        const Vec<T> m = tanh(load_first(context + i, count) + load_first(in.context_bias + i, count));
        const Vec<T> l = tanh(load_first(language + i, count) + load_first(in.language_bias + i, count));
        store_first(adaptive + i, gate * m + (T(1) - gate) * l, count);
        visit(i, count, m, l);
    }
}

template <typename T>
void gate_forward(const GateSizes& n, const GateInputs<T>& in, const GateForward<T>& out, std::int64_t first,
                  std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
        gate_of_word(n, in, row, out);
        blend(n, in, row, out.gate[row], out.mixture_input + row * n.mixture_input(),
              [](std::int64_t, std::int64_t, Vec<T>, Vec<T>) {});
    }
}

template <typename T>
void gate_backward(const GateSizes& n, const GateInputs<T>& in, const GateBackward<T>& out, std::int64_t first,
                   std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
        const T gate = out.gate[row];
        const T* d_input = out.d_mixture_input + row * n.mixture_input();
        const T* d_adaptive = d_input + n.word;
        Vec<T> d_gate = {};
        blend(n, in, row, gate, out.mixture_input + row * n.mixture_input(),
              [&](std::int64_t i, std::int64_t count, Vec<T> m, Vec<T> l) {
                  const Vec<T> d = load_first(d_adaptive + i, count);
                  d_gate += d * (m - l);
                  store_first(out.d_context + row * n.attention + i, d * gate * (T(1) - m * m), count);
                  store_first(out.d_language + row * n.attention + i, d * (T(1) - gate) * (T(1) - l * l), count);
              });
        double d_logit = out.d_logit == nullptr ? 0 : out.d_logit[row];
        if (std::isnan(in.force_gate)) {  // a forced gate is a constant
            const double d = sum_in_double(d_gate) + (out.d_gate == nullptr ? 0 : out.d_gate[row]);
            d_logit += d * gate * (1 - static_cast<double>(gate));
        }
        const T d = static_cast<T>(d_logit);
        out.d_total_logit[row] = d;
        const T* d_hidden = d_input + n.word + n.attention;
        for (std::int64_t i = 0; i < n.hidden; ++i) {
            out.d_hidden[row * n.hidden + i] = d_hidden[i] + d * in.gate_hidden_weight[i];
        }
        for (std::int64_t i = 0; i < n.word; ++i) out.d_word[row * n.word + i] = d * in.gate_word_weight[i];
        std::copy_n(d_input, n.word, out.d_mixed_word + row * n.word);
    }
}

template <typename T>
GateKernels<T> gate_kernels() {
    return {&gate_forward<T>, &gate_backward<T>, &bias_tanh<T>, &tanh_gradient<T>};
}

template GateKernels<float> gate_kernels<float>();
template GateKernels<double> gate_kernels<double>();

}  // namespace M2T_ISA
}  // namespace m2t
