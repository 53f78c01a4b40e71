// Attention of single words against keys that stay the same for many words. Included by kernels: see isa.h.
//
// tanh(k + q) = 1 - 2 / (exp(2k) exp(2q) + 1): with the exponentials of all keys made once for a motion and those of a
// query once for a word, a score costs one reciprocal and no exponential. Errors are of the size of a float's last bit
// at 1 where the tanh of vector_math.h keeps relative precision; a score sums some hundred values in [-1, 1], so it
// does not see the difference.
#pragma once

#include "common/vector_math.h"
#include "cpu/attention_words.h"
#include "cpu/decode.h"
#include "cpu/packed_product.h"

namespace m2t {
namespace M2T_ISA {

// Keys between the one that is scored and the one that is asked for: there are too many for the second cache.
constexpr std::int64_t kKeysAhead = 4;
// Rows of parts that are summed together: they stay in the first cache while the next ones are asked for.
constexpr std::int64_t kMixedTogether = 32;
// Keys up to this size are kept as exp(2k). Then a query may be cut at 10 beyond it (double: 19) without a change in
// tanh, and exp(2k) exp(2q) <= exp(2 * (16 + 16 + 10)) is a normal number. Motions with larger keys, if any, are scored
// by tanh.
constexpr double kKeyLimit = 16;
template <typename T>
constexpr T query_limit() {
    return static_cast<T>(kKeyLimit + (sizeof(T) == 4 ? 10 : 19));
}

// Smaller than the limit in size; NaN stays NaN.
template <typename T>
Vec<T> within(Vec<T> x, T limit) {
    return -at_most<T>(-at_most<T>(x, limit), limit);
}

// Copies rows of `dim` elements to rows of `step`, as exp(2x) of x within the limit if `exponential`, and returns the
// largest size of an element. The excess holds zeros or their exponentials: a weight of 0 awaits them.
template <typename From, typename T, typename To>
T prepare_rows(const From* from, std::int64_t count, std::int64_t dim, std::int64_t step, bool exponential, T limit,
               To* to) {
    constexpr std::int64_t W = lanes<T>();
    Vec<T> most = {};
    for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t d = 0; d < step; d += W) {
            const Vec<T> x = load_first(from + i * dim + d, std::clamp<std::int64_t>(dim - d, 0, W));
            const Vec<T> size = x < Vec<T>{} ? -x : x;
            most = size > most ? size : most;
            store(to + i * step + d, exponential ? exp_of_twice(within(x, limit)) : x);
        }
    }
    T values[W];
    store(values, most);
    return largest(values, W);
}

template <typename S>
void prepare_weights(const DecodeModel<S>& m, DecodeRows<S>& rows) {
    using T = WideOf<S>;
    const std::int64_t dim = m.n.attention_dim, step = m.n.step(sizeof(S));
    prepare_rows(m.temporal_weight, 1, dim, step, false, T(0), rows.temporal_weight);
    prepare_rows(m.spatial_weight, m.n.rows(), dim, step, false, T(0), rows.spatial_weight);
    for (std::int64_t r = 0; r <= m.n.rows(); ++r) {
        const T* weight = r == 0 ? m.temporal_weight : m.spatial_weight + (r - 1) * dim;
        double total = 0;
        for (std::int64_t d = 0; d < dim; ++d) total += weight[d];
        rows.weight_sums[r] = total;
    }
}

template <typename S>
void prepare_motion(const DecodeModel<S>& m, DecodeRows<S>& rows, std::int64_t b, std::int64_t i) {
    using T = WideOf<S>;
    const DecodeSizes& n = m.n;
    PreparedKeys<S>& keys = rows.keys[i];
    const std::int64_t size = n.frames * n.slots * n.step(sizeof(S));
    keys.temporal = rows.key_memory + 2 * i * size;
    keys.spatial = keys.temporal + size;
    keys.frames = std::clamp<std::int64_t>(m.memory.lengths[b], 0, n.frames);
    keys.parts = m.memory.parts + b * n.frames * n.parts * n.part_dim;
    const std::int64_t first = b * n.frames * n.slots * n.attention_dim;
    const T limit = static_cast<T>(kKeyLimit);
    const auto prepare = [&](bool exponential) {
        const std::int64_t count = keys.frames * n.slots, dim = n.attention_dim, step = n.step(sizeof(S));
        keys.exponential = exponential;
        return std::max(
            prepare_rows(m.memory.temporal_keys + first, count, dim, step, exponential, limit, keys.temporal),
            prepare_rows(m.memory.spatial_keys + first, count, dim, step, exponential, limit, keys.spatial));
    };
    if (prepare(true) > limit) prepare(false);
}

// The reciprocal that scores of keys stored as S take.
template <typename S>
Vec<WideOf<S>> reciprocal_for(Vec<WideOf<S>> x) {
    if constexpr (std::is_same_v<S, BFloat16>) {
        return rough_reciprocal(x);
    } else {
        return reciprocal<S>(x);
    }
}

// Rows weight rows of one key with Words words: out[word][row].
template <typename S, typename T, int Words, int Rows, bool Exponential, typename Out>
void score_prepared(const S* key, const T* query, std::int64_t step, const T* weight, const double* weight_sums,
                    Out* out, std::int64_t out_stride) {
    Vec<T> total[Words][Rows] = {};
    for (std::int64_t d = 0; d < step; d += lanes<T>()) {
        prefetch(key + kKeysAhead * step + d);
        const Vec<T> k = load(key + d);
        Vec<T> w[Rows];
        for (int r = 0; r < Rows; ++r) w[r] = load(weight + r * step + d);
        for (int l = 0; l < Words; ++l) {
            const Vec<T> q = load(query + l * step + d);
            const Vec<T> x = Exponential ? reciprocal_for<S>(k * q + T(1)) : tanh(k + q);
            for (int r = 0; r < Rows; ++r) total[l][r] += w[r] * x;
        }
    }
    for (int l = 0; l < Words; ++l) {
        for (int r = 0; r < Rows; ++r) {
            const double sum = sum_in_double(total[l][r]);
            out[l * out_stride + r] = static_cast<Out>(Exponential ? weight_sums[r] - 2 * sum : sum);
        }
    }
}

// What is scored against what; rows of keys, queries and weights are `step` apart.
template <typename T, typename S = T>
struct PreparedScoring {
    const S* keys;
    std::int64_t count;
    const T* query;
    std::int64_t words, step;
    const T* weight;
    std::int64_t rows;
    const double* weight_sums;
    const char* ahead;  // what is read next: cache lines to ask for meanwhile, some for every key
    std::int64_t lines;
};

template <typename S, typename T, int Words, bool Exponential, typename Out>
void score_words(const PreparedScoring<T, S>& s, std::int64_t word, Out* out, std::int64_t out_stride) {
    constexpr int some = 3;  // rows at a time, if there are several
    const T* query = s.query + word * s.step;
    for (std::int64_t i = 0; i < s.count; ++i) {
        const S* key = s.keys + i * s.step;
        Out* to = out + word * out_stride + i * s.rows;
        for (std::int64_t j = i * s.lines; j < (i + 1) * s.lines; ++j) prefetch(s.ahead + 64 * j);
        std::int64_t r = 0;
        for (; r + some <= s.rows; r += some) {
            score_prepared<S, T, Words, some, Exponential>(key, query, s.step, s.weight + r * s.step, s.weight_sums + r,
                                                           to + r, out_stride);
        }
        for (; r < s.rows; ++r) {
            score_prepared<S, T, Words, 1, Exponential>(key, query, s.step, s.weight + r * s.step, s.weight_sums + r,
                                                        to + r, out_stride);
        }
    }
}

// out[word][key * rows + row], rows of out out_stride apart.
template <typename S, bool Exponential, typename T, typename Out>
void score_all(const PreparedScoring<T, S>& s, Out* out, std::int64_t out_stride) {
    std::int64_t l = 0;
    for (; l + 4 <= s.words; l += 4) score_words<S, T, 4, Exponential>(s, l, out, out_stride);
    switch (s.words - l) {
        case 3: score_words<S, T, 3, Exponential>(s, l, out, out_stride); break;
        case 2: score_words<S, T, 2, Exponential>(s, l, out, out_stride); break;
        case 1: score_words<S, T, 1, Exponential>(s, l, out, out_stride); break;
        default: break;
    }
}

// Adds weights (Words, stride) times `count` rows of parts, `size` apart, to Words rows of the context, likewise;
// Vectors vectors of each, or the first `rest` lanes of one if Partial.
template <typename T, int Words, int Vectors, bool Partial, typename S>
void mix_block(const T* weights, std::int64_t stride, const S* parts, std::int64_t size, std::int64_t count, T* context,
               std::int64_t rest, bool add) {
    constexpr std::int64_t W = lanes<T>();
    Vec<T> total[Words][Vectors] = {};
    for (std::int64_t k = 0; k < count; ++k) {
        const S* row = parts + k * size;
        for (int v = 0; v < Vectors; ++v) {
            prefetch(row + kMixedTogether * size + v * W);
            const Vec<T> x = Partial ? load_first(row, rest) : load(row + v * W);
            for (int l = 0; l < Words; ++l) total[l][v] += weights[l * stride + k] * x;
        }
    }
    for (int l = 0; l < Words; ++l) {
        for (int v = 0; v < Vectors; ++v) {
            T* to = context + l * size + v * W;
            store_first(to, add ? load_first(to, rest) + total[l][v] : total[l][v], rest);
        }
    }
}

// Eq. 8 for Words words from `l` on: sums of the parts' features (pairs, H) with the words' weights, some rows at a
// time.
template <typename S, int Words>
void mix_parts(const DecodeSizes& n, const DecodeRows<S>& rows, const PreparedKeys<S>& keys, std::int64_t first,
               std::int64_t l) {
    using T = WideOf<S>;
    constexpr int some = 4;  // vectors
    constexpr std::int64_t W = lanes<T>();
    const std::int64_t pairs = keys.frames * n.parts, size = n.part_dim;
    T* context = rows.context + (first + l) * size;
    if (pairs == 0) std::fill_n(context, Words * size, T(0));
    for (std::int64_t k = 0; k < pairs; k += kMixedTogether) {
        const std::int64_t count = std::min(kMixedTogether, pairs - k);
        const T* weights = rows.weights + l * pairs + k;
        const S* parts = keys.parts + k * size;
        std::int64_t j = 0;
        for (; j + some * W <= size; j += some * W) {
            mix_block<T, Words, some, false>(weights, pairs, parts + j, size, count, context + j, W, k > 0);
        }
        for (; j < size; j += W) {
            mix_block<T, Words, 1, true>(weights, pairs, parts + j, size, count, context + j, std::min(W, size - j),
                                         k > 0);
        }
    }
}

// Eq. 2 to 6 and 8 for `words` rows from `first` on, all of one motion; rows.query holds both queries without bias.
template <typename S>
void attend_prepared(const DecodeModel<S>& m, DecodeRows<S>& rows, std::int64_t first, std::int64_t words) {
    using T = WideOf<S>;
    const DecodeSizes& n = m.n;
    const PreparedKeys<S>& keys = rows.keys[rows.state.motion[first]];
    const std::int64_t dim = n.attention_dim, step = n.step(sizeof(S)), frames = keys.frames;
    const std::int64_t slots = frames * n.slots, pairs = frames * n.parts;
    for (std::int64_t l = 0; l < words; ++l) {
        const T* query = rows.query + (first + l) * 2 * dim;
        prepare_rows(query, 1, dim, step, keys.exponential, query_limit<T>(), rows.temporal_query + l * step);
        prepare_rows(query + dim, 1, dim, step, keys.exponential, query_limit<T>(), rows.spatial_query + l * step);
    }
    // Scores take longer than fetching their keys. The parts, which are fetched faster than mixed, come along.
    const auto* ahead = reinterpret_cast<const char*>(keys.parts);
    const std::int64_t lines = pairs * n.part_dim * static_cast<std::int64_t>(sizeof(S)) / 64;
    const std::int64_t every = lines / std::max<std::int64_t>(1, 2 * slots);
    const PreparedScoring<T, S> temporal = {keys.temporal,        slots, rows.temporal_query, words, step,
                                            rows.temporal_weight, 1,     rows.weight_sums,    ahead, every};
    const PreparedScoring<T, S> spatial = {keys.spatial,
                                           slots,
                                           rows.spatial_query,
                                           words,
                                           step,
                                           rows.spatial_weight,
                                           n.rows(),
                                           rows.weight_sums + 1,
                                           ahead + 64 * slots * every,
                                           every};
    T* alpha = rows.attention.alpha + first * n.frames * n.parts;
    if (keys.exponential) {
        score_all<S, true>(temporal, rows.z, slots);
        score_all<S, true>(spatial, alpha, n.frames * n.parts);
    } else {
        score_all<S, false>(temporal, rows.z, slots);
        score_all<S, false>(spatial, alpha, n.frames * n.parts);
    }
    for (std::int64_t l = 0; l < words; ++l) {
        double mean, variance;
        softmax(rows.z + l * slots, slots, rows.gamma);
        moments(rows.gamma, frames, n.slots, mean, variance);
        const double std = clamped_std(variance, m.sigma_min);
        rows.attention.mean[first + l] = static_cast<T>(mean);
        rows.attention.std[first + l] = static_cast<T>(std);
        T* window = rows.attention.window + (first + l) * n.frames;
        T* a = alpha + l * n.frames * n.parts;
        T* weights = rows.weights + l * pairs;
        gaussian_window(frames, mean, std, window);
        softmax_over_parts(a, frames, n.parts, n.rows() == 1 ? nullptr : m.spatial_bias);
        for (std::int64_t t = 0; t < frames; ++t) {
            const T scaled = static_cast<T>(m.scale) * window[t];
            for (std::int64_t i = 0; i < n.parts; ++i) weights[t * n.parts + i] = scaled * a[t * n.parts + i];
        }
    }
    std::int64_t l = 0;
    for (; l + 4 <= words; l += 4) mix_parts<S, 4>(n, rows, keys, first, l);
    switch (words - l) {
        case 3: mix_parts<S, 3>(n, rows, keys, first, l); break;
        case 2: mix_parts<S, 2>(n, rows, keys, first, l); break;
        case 1: mix_parts<S, 1>(n, rows, keys, first, l); break;
        default: break;
    }
}

}  // namespace M2T_ISA
}  // namespace m2t
