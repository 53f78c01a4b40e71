// One word of every row: LSTM cells, attention, gate, logits and their normaliser. Included by kernels: see isa.h.
#pragma once

#include "common/vector_math.h"
#include "cpu/decode.h"
#include "cpu/decode_attention.h"
#include "cpu/gate_kernel.h"
#include "cpu/linear_kernel.h"
#include "cpu/packed_product.h"

namespace m2t {
namespace M2T_ISA {

// y (rows.count, columns): the layer's product, without its bias.
template <typename S>
void run_layer(const Layer<S>& layer, const WideOf<S>* x, const DecodeRows<S>& rows, WideOf<S>* y) {
    if constexpr (std::is_same_v<S, WideOf<S>>) {
        packed_product(x, rows.count, layer.packed, layer.terms, y, layer.columns);
    } else {
        static_assert(linear_width<S>() == kLayerWidth, "columns of the workspace");
        shorten(x, rows.count * layer.terms, rows.layer_input);
        const LinearOutput<S> out = {{{{rows.layer_input, layer.packed, layer.terms}, {}}},
                                     1,
                                     nullptr,
                                     false,
                                     nullptr,
                                     layer.columns,
                                     layer.columns,
                                     y};
        for (std::int64_t first = 0; first < rows.count; first += kLinearRows) {
            linear_forward<S>(out, {first, std::min(kLinearRows, rows.count - first)},
                              reinterpret_cast<unsigned char*>(rows.layer_sums));
        }
    }
}

template <typename T>
Vec<T> sigmoid(Vec<T> x) {
    return T(0.5) * tanh(T(0.5) * x) + T(0.5);
}

// joined = [x; y], row by row.
template <typename T>
void join(const T* x, std::int64_t x_size, const T* y, std::int64_t y_size, std::int64_t rows, T* joined) {
    for (std::int64_t i = 0; i < rows; ++i) {
        T* to = joined + i * (x_size + y_size);
        std::copy_n(x + i * x_size, x_size, to);
        std::copy_n(y + i * y_size, y_size, to + x_size);
    }
}

// The rest of an LSTM cell after its products (rows, 4C), whose gates are i, f, g, o.
template <typename T>
void lstm_cell(const T* sums, const T* bias, std::int64_t rows, std::int64_t size, T* hidden, T* cell) {
    constexpr std::int64_t W = lanes<T>();
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < size; j += W) {
            const std::int64_t count = std::min(W, size - j);
            const auto gate = [&](std::int64_t number) {
                const std::int64_t at = number * size + j;
                return load_first(sums + i * 4 * size + at, count) + load_first(bias + at, count);
            };
            const Vec<T> kept = sigmoid<T>(gate(1)) * load_first(cell + i * size + j, count);
            const Vec<T> c = kept + sigmoid<T>(gate(0)) * tanh(gate(2));
            store_first(cell + i * size + j, c, count);
            store_first(hidden + i * size + j, sigmoid<T>(gate(3)) * tanh(c), count);
        }
    }
}

template <typename T>
void add_bias(T* x, const T* bias, std::int64_t rows, std::int64_t columns) {
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) x[i * columns + j] += bias[j];
    }
}

template <typename S>
void advance(const DecodeModel<S>& m, DecodeRows<S>& rows) {
    const std::int64_t size = m.n.hidden;
    const RowState<WideOf<S>>& s = rows.state;
    join(rows.input, m.n.word, s.hidden, size, rows.count, rows.joined);
    run_layer(m.bottom, rows.joined, rows, rows.sums);
    lstm_cell(rows.sums, m.bottom.bias, rows.count, size, s.hidden, s.cell);
    join(s.hidden, size, s.top, size, rows.count, rows.joined);
    run_layer(m.top, rows.joined, rows, rows.sums);
    lstm_cell(rows.sums, m.top.bias, rows.count, size, s.top, s.top_cell);
}

template <typename S>
void predict(const DecodeModel<S>& m, DecodeRows<S>& rows) {
    using T = WideOf<S>;
    const DecodeSizes& n = m.n;
    run_layer(m.query, rows.state.hidden, rows, rows.query);
    add_bias(rows.query, m.query.bias, rows.count, m.query.columns);
    for (std::int64_t first = 0, last; first < rows.count; first = last) {
        for (last = first + 1; last < rows.count && rows.state.motion[last] == rows.state.motion[first];) ++last;
        attend_prepared(m, rows, first, last - first);
    }
    run_layer(m.context, rows.context, rows, rows.context_product);
    run_layer(m.language, rows.state.top, rows, rows.language_product);
    const GateSizes sizes = {rows.count, n.hidden, n.word, n.attention_dim};
    const GateInputs<T> in = {rows.state.hidden,     rows.embedded,   rows.mixed,           m.gate_hidden_weight,
                              m.gate_word_weight,    m.gate_bias,     rows.context_product, m.context.bias,
                              rows.language_product, m.language.bias, m.force_gate};
    const GateForward<T> out = {rows.mixture_input, rows.attention.gate, rows.gate_logit};
    gate_forward(sizes, in, out, 0, rows.count);
    run_layer(m.mixture, rows.mixture_input, rows, rows.features);
    bias_tanh(rows.features, m.mixture.bias, n.mixture, 0, rows.count);
    run_layer(m.output, rows.features, rows, rows.logits);
    add_bias(rows.logits, m.output.bias, rows.count, n.vocabulary);
}

template <typename T>
T largest_of(const T* x, std::int64_t n) {
    constexpr std::int64_t W = lanes<T>();
    T most = -std::numeric_limits<T>::infinity();
    std::int64_t i = 0;
    if (n >= W) {
        Vec<T> best = load(x);
        for (i = W; i + W <= n; i += W) {
            const Vec<T> v = load(x + i);
            best = v > best ? v : best;
        }
        T values[W];
        store(values, best);
        most = largest(values, W);
    }
    for (; i < n; ++i) most = x[i] > most ? x[i] : most;
    return most;
}

template <typename T>
double log_sum_exp(const T* x, std::int64_t n, T* largest) {
    constexpr std::int64_t W = lanes<T>();
    T most = -std::numeric_limits<T>::infinity();
    for (std::int64_t i = 0; i < n; i += kScanned) {
        largest[i / kScanned] = largest_of(x + i, std::min(kScanned, n - i));
        most = std::max(most, largest[i / kScanned]);
    }
    Vec<T> total = {};
    std::int64_t i = 0;
    for (; i + W <= n; i += W) total += exp_nonpositive<T>(load(x + i) - most);
    double sum = sum_in_double(total);
    for (; i < n; ++i) sum += std::exp(static_cast<double>(x[i] - most));
    return static_cast<double>(most) + std::log(sum);
}

template <typename S>
DecodeKernels<S> make_decode_kernels() {
    using T = WideOf<S>;
    if constexpr (std::is_same_v<S, T>) {
        const auto packed_size = [](std::int64_t columns, std::int64_t terms) {
            return panels<T>(columns) * panel_width<T>() * terms;
        };
        return {packed_size,        &panels<T>,  &pack_panel<T>, &prepare_weights<T>,
                &prepare_motion<T>, &advance<T>, &predict<T>,    &log_sum_exp<T>};
    } else {
        const auto pack = [](const S* weight, std::int64_t columns, std::int64_t terms, std::int64_t panel, S* packed) {
            pack_linear<S>(weight, columns, terms, false, panel, packed);
        };
        return {&linear_packed_size<S>, &linear_panels<S>, pack,        &prepare_weights<S>,
                &prepare_motion<S>,     &advance<S>,       &predict<S>, &log_sum_exp<T>};
    }
}

#if !defined(M2T_BFLOAT16)
template <typename T>
DecodeKernels<T> decode_kernels() {
    return make_decode_kernels<T>();
}

template DecodeKernels<float> decode_kernels<float>();
template DecodeKernels<double> decode_kernels<double>();
#endif

}  // namespace M2T_ISA
}  // namespace m2t
