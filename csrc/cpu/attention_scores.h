// Additive scores w . tanh(key + query) of eq. 2 and 5 and their gradient: where the time of attention goes.
//
// Every key meets every word, so keys are walked once and all words are done on each, from cache. tanh values never
// leave it. Arrays called padded have rows of whole vectors. Included by kernels: see isa.h.
#pragma once

#include "common/vector_math.h"

namespace m2t {
namespace M2T_ISA {

// Words scored together: one load of a key serves them all, and their tanh chains overlap.
constexpr int kWords = 4;
// Weight rows multiplied together, when a key is scored by several.
constexpr int kRows = 3;
// Weight rows whose gradient is taken in one pass: the six body parts, where 32 registers hold their weights and sums.
constexpr int kRowsInRegisters = M2T_VECTOR_BYTES == 64 ? 6 : 3;
// Keys whose contributions to a gradient are summed before they are added to it: bounds the error of long sums.
constexpr std::int64_t kKeysPerSum = 64;

// Two ways to tanh(key + query). `ready` is applied once to every key and query, `tanh` to every pair of them.
//
// The fast one: tanh(k + q) = (e - 1) / (e + 1) with e = exp(2k) exp(2q), exponentials of keys and queries rather than
// of pairs. Its error is absolute: as good as any tanh in float where the result is not small, and where it is small no
// more than its sum with others loses anyway. docs/kernels.md has the measured errors. (1 - 2 / (e + 1) has two
// operations less, and an error too large for the numerics policy.)
template <typename T>
struct ByProduct {
    static Vec<T> ready(Vec<T> x) { return exp_of_twice(x); }
    static Vec<T> tanh(Vec<T> key, Vec<T> query) { return quotient(key * query - T(1), key * query + T(1)); }
};
// The direct one, for keys and queries whose exponentials leave the range of T.
template <typename T>
struct BySum {
    static Vec<T> ready(Vec<T> x) { return x; }
    static Vec<T> tanh(Vec<T> key, Vec<T> query) { return M2T_ISA::tanh(key + query); }
};

// ByProduct for keys stored as bfloat16: the rounding of the stored key is 30 times the error of this reciprocal.
struct ByRoughProduct {
    static Vec<float> ready(Vec<float> x) { return exp_of_twice(x); }
    static Vec<float> tanh(Vec<float> key, Vec<float> query) {
        return 1.0f - 2.0f * rough_reciprocal(key * query + 1.0f);
    }
};
// The way by exponentials for keys stored as S.
template <typename S>
using ByProductOf = std::conditional_t<std::is_same_v<S, BFloat16>, ByRoughProduct, ByProduct<WideOf<S>>>;

// What ByProduct takes: the largest sum of the magnitudes of a key and a query, and the largest norm of a weight row.
// A norm as large as that (trained models have 1 to 3) would make its error visible in the scores.
template <typename T>
constexpr T most_by_product() {
    return sizeof(T) == 4 ? T(43) : T(350);
}
constexpr double kMostWeight = 8;

// The largest magnitude among n numbers; NaN does not count.
template <typename S>
WideOf<S> largest_magnitude(const S* x, std::int64_t n) {
    using T = WideOf<S>;
    constexpr std::int64_t W = lanes<T>();
    Vec<T> most = {};
    for (std::int64_t i = 0; i < n; i += W) {
        const Vec<T> v = i + W <= n ? load(x + i) : load_first(x + i, n - i);
        const Vec<T> a = v < T(0) ? -v : v;
        most = a > most ? a : most;
    }
    T values[lanes<T>()];
    store(values, most);
    return *std::max_element(values, values + W);
}

// The largest Euclidean norm among rows of `dim` elements.
template <typename T>
double largest_norm(const T* x, std::int64_t rows, std::int64_t dim) {
    double most = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (std::int64_t d = 0; d < dim; ++d) squares += static_cast<double>(x[r * dim + d]) * x[r * dim + d];
        most = std::max(most, squares);
    }
    return std::sqrt(most);
}

// Makes a row of `size` elements ready, and its excess as if it were zeros.
template <typename How, typename S, typename T>
void make_ready(const S* from, std::int64_t size, T* to) {
    constexpr std::int64_t W = lanes<T>();
    for (std::int64_t d = 0; d < size; d += W) {
        store(to + d, How::ready(d + W <= size ? load(from + d) : load_first(from + d, size - d)));
    }
}

// A set of keys (count, dim), stored as S, with the words (words, padded), made ready, that are compared to them and
// the weights (rows, padded), whose excess is 0.
template <typename T, typename S = T>
struct Scoring {
    const S* keys;
    std::int64_t count, dim;
    const T* query;
    std::int64_t words;
    const T* weight;
    std::int64_t rows;
};

// Whether ByProduct will do for keys, weight (rows, dim) and all queries (words, dim), not made ready.
template <typename T, typename S>
bool product_serves(const Scoring<T, S>& s, const T* weight, const T* queries, std::int64_t words) {
    return largest_norm(weight, s.rows, s.dim) <= kMostWeight &&
           largest_magnitude(s.keys, s.count * s.dim) + largest_magnitude(queries, words * s.dim) <=
               most_by_product<T>();
}

template <typename How, typename T, int Words, typename Out>
void score_key_by_one_row(const T* key, std::int64_t step, const T* query, const T* weight, Out* out,
                          std::int64_t out_stride) {
    Vec<T> total[Words] = {};
    for (std::int64_t d = 0; d < step; d += lanes<T>()) {
        const Vec<T> k = load(key + d);
        const Vec<T> w = load(weight + d);
        for (int l = 0; l < Words; ++l) total[l] += w * How::tanh(k, load(query + l * step + d));
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

template <typename How, typename T, int Words, typename Out>
void score_key_by_rows(const T* key, std::int64_t step, const T* query, const T* weight, std::int64_t rows, Out* out,
                       std::int64_t out_stride, T* values) {
    for (std::int64_t d = 0; d < step; d += lanes<T>()) {
        const Vec<T> k = load(key + d);
        for (int l = 0; l < Words; ++l) store(values + l * step + d, How::tanh(k, load(query + l * step + d)));
    }
    std::int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) {
        score_values<T, Words, kRows>(values, step, weight + r * step, out + r, out_stride);
    }
    for (; r < rows; ++r) score_values<T, Words, 1>(values, step, weight + r * step, out + r, out_stride);
}

// `key` is a padded row, ready; `values` lies behind it.
template <typename How, typename T, int Words, typename S, typename Out>
void score_key(const Scoring<T, S>& s, T* key, std::int64_t word, Out* out, std::int64_t out_stride) {
    const std::int64_t step = padded<T>(s.dim);
    const T* query = s.query + word * step;
    out += word * out_stride;
    if (s.rows == 1) {
        score_key_by_one_row<How, T, Words>(key, step, query, s.weight, out, out_stride);
    } else {
        score_key_by_rows<How, T, Words>(key, step, query, s.weight, s.rows, out, out_stride, key + step);
    }
}

// out[l][key * rows + r] for every word l, its rows out_stride apart; Out is T or double. values: workspace, (kWords +
// 1, padded).
template <typename How, typename T, typename S, typename Out>
void scores(const Scoring<T, S>& s, Out* out, std::int64_t out_stride, T* values) {
    for (std::int64_t i = 0; i < s.count; ++i) {
        make_ready<How>(s.keys + i * s.dim, s.dim, values);
        Out* scored = out + i * s.rows;
        std::int64_t l = 0;
        for (; l + kWords <= s.words; l += kWords) score_key<How, T, kWords>(s, values, l, scored, out_stride);
        switch (s.words - l) {
            case 3: score_key<How, T, 3>(s, values, l, scored, out_stride); break;
            case 2: score_key<How, T, 2>(s, values, l, scored, out_stride); break;
            case 1: score_key<How, T, 1>(s, values, l, scored, out_stride); break;
            default: break;
        }
    }
}

// One vector of one key, exactly `Rows` weight rows: adds to d_query (words, padded) and d_weight (rows, padded) and
// returns the key's gradient.
template <typename How, typename T, int Rows, typename S>
Vec<T> gradient_by_rows(const Scoring<T, S>& s, Vec<T> key, std::int64_t d, const T* grad, std::int64_t grad_stride,
                        T* d_query, T* d_weight) {
    const std::int64_t step = padded<T>(s.dim);
    Vec<T> w[Rows];
    Vec<T> d_w[Rows] = {};
    for (int r = 0; r < Rows; ++r) w[r] = load(s.weight + r * step + d);
    Vec<T> d_key = {};
    for (std::int64_t l = 0; l < s.words; ++l) {
        const Vec<T> t = How::tanh(key, load(s.query + l * step + d));
        Vec<T> d_t = {};
        for (int r = 0; r < Rows; ++r) {
            const Vec<T> g = all(grad[l * grad_stride + r]);
            d_t += g * w[r];
            d_w[r] += g * t;
        }
        const Vec<T> d_sum = d_t - d_t * t * t;
        d_key += d_sum;
        T* dq = d_query + l * step + d;
        store(dq, load(dq) + d_sum);
    }
    for (int r = 0; r < Rows; ++r) {
        T* sum = d_weight + r * step + d;
        store(sum, load(sum) + d_w[r]);
    }
    return d_key;
}

// `Rows` of any number of weight rows, starting at `row`: adds to d_weight, and for every word to d_values, the
// gradient of its tanh value.
template <typename T, int Rows, typename S>
void gradient_of_values(const Scoring<T, S>& s, std::int64_t row, std::int64_t d, const T* grad,
                        std::int64_t grad_stride, const T* values, T* d_values, T* d_weight) {
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

// gradient_by_rows for more weight rows than fit in registers. values: workspace, two vectors for each word.
template <typename How, typename T, typename S>
Vec<T> gradient_by_many_rows(const Scoring<T, S>& s, Vec<T> key, std::int64_t d, const T* grad,
                             std::int64_t grad_stride, T* d_query, T* d_weight, T* values) {
    constexpr std::int64_t W = lanes<T>();
    const std::int64_t step = padded<T>(s.dim);
    T* d_values = values + s.words * W;
    for (std::int64_t l = 0; l < s.words; ++l) {
        store(values + l * W, How::tanh(key, load(s.query + l * step + d)));
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
template <typename How, typename T, typename S>
void score_gradients(const Scoring<T, S>& s, const T* grad, std::int64_t grad_stride, S* d_keys,
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
            const S* key = s.keys + i * s.dim;
            const T* g = grad + i * s.rows;
            for (std::int64_t d = 0; d < step; d += W) {
                const std::int64_t rest = s.dim - d;
                const Vec<T> k = How::ready(rest >= W ? load(key + d) : load_first(key + d, rest));
                Vec<T> d_key;
                if (s.rows == 1) {
                    d_key = gradient_by_rows<How, T, 1>(s, k, d, g, grad_stride, d_query, d_weight);
                } else if (s.rows == kRowsInRegisters) {
                    d_key = gradient_by_rows<How, T, kRowsInRegisters>(s, k, d, g, grad_stride, d_query, d_weight);
                } else {
                    d_key = gradient_by_many_rows<How>(s, k, d, g, grad_stride, d_query, d_weight, sums.values);
                }
                S* out = d_keys + i * s.dim + d;
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
