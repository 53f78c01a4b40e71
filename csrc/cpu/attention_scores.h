// Additive scores w . tanh(key + query) of eq. 2 and 5 and their gradient: where the time of attention goes.
//
// Every key meets every word, so keys are walked once and all words are done on each, from cache. tanh values never
// leave it. Arrays called padded have rows of whole vectors, with zeros in the excess. Included by kernels: see isa.h.
#pragma once

#include "common/vector_math.h"

namespace m2t {
namespace M2T_ISA {

// Words scored together: one load of a key serves them all, and their tanh chains overlap.
constexpr int kWords = 4;
// Weight rows multiplied together, when a key is scored by several.
constexpr int kRows = 3;
// Keys whose contributions to a gradient are summed before they are added to it: bounds the error of long sums.
constexpr std::int64_t kKeysPerSum = 64;

// A set of keys (count, dim) with the words (words, padded) that are compared to them and the weights (rows, padded).
template <typename T>
struct Scoring {
    const T* keys;
    std::int64_t count, dim;
    const T* query;
    std::int64_t words;
    const T* weight;
    std::int64_t rows;
};

template <typename T, int Words, typename Out>
void score_key_by_one_row(const T* key, std::int64_t dim, const T* query, const T* weight, Out* out,
                          std::int64_t out_stride) {
    constexpr std::int64_t W = lanes<T>();
    const std::int64_t step = padded<T>(dim);
    Vec<T> total[Words] = {};
    std::int64_t d = 0;
    for (; d + W <= dim; d += W) {
        const Vec<T> k = load(key + d);
        const Vec<T> w = load(weight + d);
        for (int l = 0; l < Words; ++l) total[l] += w * tanh(k + load(query + l * step + d));
    }
    if (d < dim) {
        const Vec<T> k = load_first(key + d, dim - d);
        const Vec<T> w = load(weight + d);
        for (int l = 0; l < Words; ++l) total[l] += w * tanh(k + load(query + l * step + d));
    }
    for (int l = 0; l < Words; ++l) out[l * out_stride] = static_cast<Out>(sum_in_double(total[l]));
}

// `Rows` weight rows at once, from the tanh values of the key with every word.
template <typename T, int Words, int Rows, typename Out>
void score_values(const T* values, std::int64_t step, const T* weight, Out* out, std::int64_t out_stride) {
    Vec<T> total[Words][Rows] = {};
    for (std::int64_t d = 0; d < step; d += lanes<T>()) {
        Vec<T> w[Rows];
        for (int r = 0; r < Rows; ++r) w[r] = load(weight + r * step + d);
        for (int l = 0; l < Words; ++l) {
            const Vec<T> t = load(values + l * step + d);
            for (int r = 0; r < Rows; ++r) total[l][r] += w[r] * t;
        }
    }
    for (int l = 0; l < Words; ++l) {
        for (int r = 0; r < Rows; ++r) out[l * out_stride + r] = static_cast<Out>(sum_in_double(total[l][r]));
    }
}

template <typename T, int Words, typename Out>
void score_key_by_rows(const T* key, std::int64_t dim, const T* query, const T* weight, std::int64_t rows, Out* out,
                       std::int64_t out_stride, T* values) {
    constexpr std::int64_t W = lanes<T>();
    const std::int64_t step = padded<T>(dim);
    for (std::int64_t d = 0; d < step; d += W) {
        const Vec<T> k = d + W <= dim ? load(key + d) : load_first(key + d, dim - d);
        for (int l = 0; l < Words; ++l) store(values + l * step + d, tanh(k + load(query + l * step + d)));
    }
    std::int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) {
        score_values<T, Words, kRows>(values, step, weight + r * step, out + r, out_stride);
    }
    for (; r < rows; ++r) score_values<T, Words, 1>(values, step, weight + r * step, out + r, out_stride);
}

template <typename T, int Words, typename Out>
void score_key(const Scoring<T>& s, const T* key, std::int64_t word, Out* out, std::int64_t out_stride, T* values) {
    const T* query = s.query + word * padded<T>(s.dim);
    if (s.rows == 1) {
        score_key_by_one_row<T, Words>(key, s.dim, query, s.weight, out + word * out_stride, out_stride);
    } else {
        score_key_by_rows<T, Words>(key, s.dim, query, s.weight, s.rows, out + word * out_stride, out_stride, values);
    }
}

// out[l][key * rows + r] for every word l, its rows out_stride apart; Out is T or double. values: workspace, (kWords,
// padded).
template <typename T, typename Out>
void scores(const Scoring<T>& s, Out* out, std::int64_t out_stride, T* values) {
    for (std::int64_t i = 0; i < s.count; ++i) {
        const T* key = s.keys + i * s.dim;
        Out* scored = out + i * s.rows;
        std::int64_t l = 0;
        for (; l + kWords <= s.words; l += kWords) score_key<T, kWords>(s, key, l, scored, out_stride, values);
        switch (s.words - l) {
            case 3: score_key<T, 3>(s, key, l, scored, out_stride, values); break;
            case 2: score_key<T, 2>(s, key, l, scored, out_stride, values); break;
            case 1: score_key<T, 1>(s, key, l, scored, out_stride, values); break;
            default: break;
        }
    }
}

// One vector of one key, one weight row: adds to d_query (words, padded) and d_weight and returns the key's gradient.
template <typename T>
Vec<T> gradient_by_one_row(const Scoring<T>& s, Vec<T> key, std::int64_t d, const T* grad, std::int64_t grad_stride,
                           T* d_query, T* d_weight) {
    const std::int64_t step = padded<T>(s.dim);
    const Vec<T> w = load(s.weight + d);
    Vec<T> d_key = {};
    Vec<T> d_w = {};
    for (std::int64_t l = 0; l < s.words; ++l) {
        const Vec<T> g = all(grad[l * grad_stride]);
        const Vec<T> t = tanh(key + load(s.query + l * step + d));
        const Vec<T> gw = g * w;
        const Vec<T> d_sum = gw - gw * t * t;
        d_w += g * t;
        d_key += d_sum;
        T* dq = d_query + l * step + d;
        store(dq, load(dq) + d_sum);
    }
    store(d_weight + d, load(d_weight + d) + d_w);
    return d_key;
}

// `Rows` of several weight rows: adds to d_weight, and for every word to d_values, the gradient of its tanh value.
template <typename T, int Rows>
void gradient_of_values(const Scoring<T>& s, std::int64_t row, std::int64_t d, const T* grad, std::int64_t grad_stride,
                        const T* values, T* d_values, T* d_weight) {
    constexpr std::int64_t W = lanes<T>();
    const std::int64_t step = padded<T>(s.dim);
    const T* weight = s.weight + row * step + d;
    T* sums = d_weight + row * step + d;
    Vec<T> w[Rows];
    Vec<T> d_w[Rows] = {};
    for (int r = 0; r < Rows; ++r) w[r] = load(weight + r * step);
    for (std::int64_t l = 0; l < s.words; ++l) {
        const Vec<T> t = load(values + l * W);
        Vec<T> d_t = load(d_values + l * W);
        for (int r = 0; r < Rows; ++r) {
            const Vec<T> g = all(grad[l * grad_stride + row + r]);
            d_t += g * w[r];
            d_w[r] += g * t;
        }
        store(d_values + l * W, d_t);
    }
    for (int r = 0; r < Rows; ++r) store(sums + r * step, load(sums + r * step) + d_w[r]);
}

// gradient_by_one_row for several weight rows. values: workspace, two vectors for each word.
template <typename T>
Vec<T> gradient_by_rows(const Scoring<T>& s, Vec<T> key, std::int64_t d, const T* grad, std::int64_t grad_stride,
                        T* d_query, T* d_weight, T* values) {
    constexpr std::int64_t W = lanes<T>();
    const std::int64_t step = padded<T>(s.dim);
    T* d_values = values + s.words * W;
    for (std::int64_t l = 0; l < s.words; ++l) {
        store(values + l * W, tanh(key + load(s.query + l * step + d)));
        store(d_values + l * W, Vec<T>{});
    }
    std::int64_t r = 0;
    for (; r + kRows <= s.rows; r += kRows) {
        gradient_of_values<T, kRows>(s, r, d, grad, grad_stride, values, d_values, d_weight);
    }
    for (; r < s.rows; ++r) gradient_of_values<T, 1>(s, r, d, grad, grad_stride, values, d_values, d_weight);
    Vec<T> d_key = {};
    for (std::int64_t l = 0; l < s.words; ++l) {
        const Vec<T> t = load(values + l * W);
        const Vec<T> d_t = load(d_values + l * W);
        const Vec<T> d_sum = d_t - d_t * t * t;
        d_key += d_sum;
        T* dq = d_query + l * step + d;
        store(dq, load(dq) + d_sum);
    }
    return d_key;
}

// Where `score_gradients` adds up: both (words, padded) followed by (rows, padded), zeros on entry to `total`.
template <typename T>
struct ScoreSums {
    T *total, *tile;
    T* values;  // workspace, two vectors for each word
};

// From grad[l][key * rows + r]: d_keys (count, dim), and in sums.total the gradients of query and weight.
template <typename T>
void score_gradients(const Scoring<T>& s, const T* grad, std::int64_t grad_stride, T* d_keys,
                     const ScoreSums<T>& sums) {
    constexpr std::int64_t W = lanes<T>();
    const std::int64_t step = padded<T>(s.dim);
    const std::int64_t size = (s.words + s.rows) * step;
    T* d_query = sums.tile;
    T* d_weight = sums.tile + s.words * step;
    for (std::int64_t first = 0; first < s.count; first += kKeysPerSum) {
        const std::int64_t last = std::min(first + kKeysPerSum, s.count);
        std::fill(sums.tile, sums.tile + size, T(0));
        for (std::int64_t i = first; i < last; ++i) {
            const T* key = s.keys + i * s.dim;
            const T* g = grad + i * s.rows;
            for (std::int64_t d = 0; d < step; d += W) {
                const std::int64_t rest = s.dim - d;
                const Vec<T> k = rest >= W ? load(key + d) : load_first(key + d, rest);
                const Vec<T> d_key =
                    s.rows == 1 ? gradient_by_one_row(s, k, d, g, grad_stride, d_query, d_weight)
                                : gradient_by_rows(s, k, d, g, grad_stride, d_query, d_weight, sums.values);
                T* out = d_keys + i * s.dim + d;
                if (rest >= W) {
                    store(out, d_key);
                } else {
                    store_first(out, d_key, rest);
                }
            }
        }
        for (std::int64_t j = 0; j < size; j += W) store(sums.total + j, load(sums.total + j) + load(sums.tile + j));
    }
}

}  // namespace M2T_ISA
}  // namespace m2t
