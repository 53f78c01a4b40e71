// From the scores' gradients to those of keys, queries and weights (eq. 2 and 5 backwards): every tanh once more.
//
// A thread owns one attention dimension of a tile of keys of one motion, and all its sums: no thread waits for
// another's. It holds kKeys keys in registers and passes over the words, whose queries and sums lie in shared memory.
// Tiles share the sums of queries and weights, which their gradients' last dimension but two, or one, keeps apart.
#include <type_traits>

#include "cuda/attention_common.h"

namespace m2t::cuda {
namespace {

constexpr int kMostThreads = 128;
constexpr int kWords = 32;      // whose scores' gradients lie in shared memory at a time
constexpr int kRowsAtOnce = 6;  // rows of weights that share a tanh; more take another one

// What a thread sums for kKeys keys over the words; kRows rows of weights. With u, minus half of tanh, the slope of
// tanh is 4 (1/4 - u^2) and the sum of g tanh is -2 times that of g u: the factors wait until the end.
template <int kKeys, int kRows>
struct KeySums {
    float key[kKeys], d_key[kKeys];
    float weight[kRows] = {}, d_weight[kRows];

    // One word; g (kRows, kKeys). Returns the query's gradient.
    template <typename How>
    M2T_DEVICE float add(float query, const float* g) {
        float d_query = 0.0f;
        M2T_UNROLL
        for (int first = 0; first < kKeys; first += 4) {
            float u[4], d_value[4] = {};
            M2T_UNROLL
            for (int i = 0; i < 4; i += 2) {
                const Halves half = How::halves(key[first + i], query, key[first + i + 1], query);
                u[i] = half.first, u[i + 1] = half.second;
            }
            M2T_UNROLL
            for (int r = 0; r < kRows; ++r) {
                const Vec4 d = load_vec4(g + r * kKeys + first);
                M2T_UNROLL
                for (int i = 0; i < 4; ++i) {
                    d_weight[r] = fmaf(d.x[i], u[i], d_weight[r]);
                    d_value[i] = kRows == 1 ? d.x[i] : fmaf(d.x[i], weight[r], d_value[i]);
                }
            }
            M2T_UNROLL
            for (int i = 0; i < 4; ++i) {
                const float slope = fmaf(-u[i], u[i], 0.25f);
                d_key[first + i] = fmaf(d_value[i], slope, d_key[first + i]);
                d_query = fmaf(d_value[i], slope, d_query);
            }
        }
        return d_query * factor();
    }

    M2T_DEVICE float factor() const { return kRows == 1 ? 4.0f * weight[0] : 4.0f; }
};

// Of the keys of one motion.
template <typename T>
M2T_ANYWHERE std::int64_t key_tiles(const ScoreGradientParameters<T>& in) {
    return ceiling(in.sizes.frames * in.sizes.slots, in.keys_per_tile);
}

template <typename T, int kKeys, int kRows>
M2T_KERNEL void M2T_BOUNDS(kMostThreads, kRows == 1 ? 4 : 3)
    attention_score_gradient_kernel(const ScoreGradientParameters<T> in, const bool staged) {
    using Fast = std::conditional_t<kExact<T>, ByRefinedProduct, ByProduct<true>>;
    using Plain = std::conditional_t<kExact<T>, BySum, Approximately>;
    const AttentionSizes& n = in.sizes;
    const int threads = static_cast<int>(blockDim.x), me = static_cast<int>(threadIdx.x);
    const std::int64_t all = n.frames * n.slots, tiles = key_tiles(in);
    const std::int64_t b = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    const std::int64_t count = valid_frames(in.lengths, b, n.frames) * n.slots;
    const std::int64_t dim = n.attention_dim, d = static_cast<std::int64_t>(blockIdx.y) * threads + me;
    const bool ours = d < dim;
    const T *keys = in.keys + b * all * dim + d, *query = in.query + b * n.words * dim + d;
    T* d_keys = in.d_keys + b * all * dim + d;
    float* d_weight = in.d_weight + blockIdx.x * in.rows * dim + d;

    auto* gradients = shared_memory<float>();  // (kWords, kRows, kKeys)
    float* queries = gradients + kWords * kRows * kKeys + me;
    float* out = in.d_query + blockIdx.x * n.words * dim + d;
    float* d_query = staged ? queries + n.words * threads : out;
    const std::int64_t step = staged ? threads : dim;
    float largest_query = 0.0f;  // queries are ready for Fast
    if (ours) {
        for (std::int64_t r = 0; r < in.rows; ++r) d_weight[r * dim] = 0.0f;
        for (std::int64_t l = 0; l < n.words; ++l) {
            d_query[l * step] = 0.0f;
            if (!staged) continue;
            const float x = to_float(query[l * dim]);
            largest_query = fmaxf(largest_query, fabsf(x));
            queries[l * threads] = Fast::ready(x);
        }
    }

    const std::int64_t last = smaller((tile + 1) * in.keys_per_tile, all), end = smaller(count, last);
    for (std::int64_t first = tile * in.keys_per_tile; first < last; first += kKeys) {
        KeySums<kKeys, kRows> sums;
        float largest = largest_query;
        M2T_UNROLL
        for (int j = 0; j < kKeys; ++j) {
            sums.key[j] = ours && first + j < end ? to_float(keys[(first + j) * dim]) : 0.0f;
            sums.d_key[j] = 0.0f;
            largest = fmaxf(largest, fabsf(sums.key[j]));
        }
        const bool fast = staged && largest <= kLargest && (!kExact<T> || largest > kSmallest);
        M2T_UNROLL
        for (int j = 0; j < kKeys; ++j) sums.key[j] = fast ? Fast::ready(sums.key[j]) : Plain::ready(sums.key[j]);
        for (std::int64_t row = 0; row < in.rows && first < end; row += kRows) {
            M2T_UNROLL
            for (int r = 0; r < kRows; ++r) {
                sums.weight[r] = ours && row + r < in.rows ? to_float(in.weight[(row + r) * dim + d]) : 0.0f;
                sums.d_weight[r] = 0.0f;
            }
            for (std::int64_t word = 0; word < n.words; word += kWords) {
                __syncthreads();
                for (int i = me; i < kWords * kRows * kKeys; i += threads) {
                    const int l = i / (kRows * kKeys), j = i / kRows % kKeys, r = i % kRows;
                    const bool valid = word + l < n.words && first + j < end && row + r < in.rows;
                    const std::int64_t at = ((b * n.words + word + l) * all + first + j) * in.rows + row + r;
                    gradients[(l * kRows + r) * kKeys + j] = valid ? in.d_scores[at] : 0.0f;
                }
                __syncthreads();
                if (!ours) continue;
                const int words = static_cast<int>(smaller(kWords, n.words - word));
                if (fast) {
                    float *asked = queries + word * threads, *sum = asked + n.words * threads;
                    const auto add = [&](int l) {
                        sum[l * threads] += sums.template add<Fast>(asked[l * threads], gradients + l * kRows * kKeys);
                    };
                    if (kRows == 1) {
                        M2T_UNROLL_BY(4)
                        for (int l = 0; l < words; ++l) add(l);
                    } else {
                        M2T_UNROLL_BY(1)
                        for (int l = 0; l < words; ++l) add(l);
                    }
                } else {
                    const T* asked = query + word * dim;
                    float* sum = d_query + word * step;
                    for (int l = 0; l < words; ++l) {
                        sum[l * step] +=
                            sums.template add<Plain>(to_float(asked[l * dim]), gradients + l * kRows * kKeys);
                    }
                }
            }
            if (!ours) continue;
            M2T_UNROLL
            for (int r = 0; r < kRows; ++r) {
                if (row + r < in.rows) d_weight[(row + r) * dim] -= 2.0f * sums.d_weight[r];
            }
        }
        M2T_UNROLL
        for (int j = 0; j < kKeys; ++j) {
            const float d_key = first + j < end ? sums.d_key[j] * sums.factor() : 0.0f;
            if (ours && first + j < last) d_keys[(first + j) * dim] = from_float<T>(d_key);
        }
    }
    if (staged && ours) {
        for (std::int64_t l = 0; l < n.words; ++l) out[l * dim] = d_query[l * step];
    }
}

template <typename T, int kKeys, int kRows>
void launch_gradient(const ScoreGradientParameters<T>& in, const Place& place) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t chunks = ceiling(n.attention_dim, kMostThreads);
    const std::int64_t threads = 32 * ceiling(ceiling(n.attention_dim, chunks), 32);
    const std::int64_t plain = kWords * kRows * kKeys * sizeof(float);
    const std::int64_t with_words = plain + 2 * n.words * threads * static_cast<std::int64_t>(sizeof(float));
    const bool staged = with_words <= limits_of(place.device).shared_bytes;
    launch(attention_score_gradient_kernel<T, kKeys, kRows>,
           {static_cast<unsigned>(n.batch * key_tiles(in)), static_cast<unsigned>(chunks), 1,
            static_cast<unsigned>(threads), static_cast<std::size_t>(staged ? with_words : plain)},
           place, in, staged);
}

}  // namespace

template <typename T>
void attention_score_gradient(const ScoreGradientParameters<T>& in, const Place& place) {
    if (in.sizes.batch * in.sizes.frames * in.sizes.attention_dim == 0) return;
    if (in.rows > 1) {
        launch_gradient<T, 8, kRowsAtOnce>(in, place);
    } else if (in.sizes.slots > 1) {
        launch_gradient<T, 16, 1>(in, place);
    } else {  // few keys a motion: less is left over
        launch_gradient<T, 8, 1>(in, place);
    }
}

template void attention_score_gradient(const ScoreGradientParameters<float>&, const Place&);
template void attention_score_gradient(const ScoreGradientParameters<bfloat16>&, const Place&);

}  // namespace m2t::cuda
