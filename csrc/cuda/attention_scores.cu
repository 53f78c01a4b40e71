// Scores of eq. 2 and 5: a tanh for every word, key and attention dimension, all of them summed in registers.
//
// A block takes a tile of keys and a few words of one motion. The attention dimensions pass through shared memory, a
// slice at a time; a lane owns one key and sums over the slice for kWords words, which its warp shares.
#include <type_traits>

#include "cuda/attention_tanh.h"

namespace m2t::cuda {
namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps;
constexpr int kDepth = 64;            // dimensions of a slice
constexpr int kKeyStep = kDepth + 4;  // a row of keys, so that 8 lanes read 8 rows from all banks
constexpr int kRowsAtOnce = 6;        // rows of weights that share a tanh; more take another one

// The sums of a lane. kSplit: `sum` starts at a bound of all sums, so that it takes from every term a multiple of one
// small unit without rounding, and what it left of the term goes to `rest`.
template <int kWords, int kRows, bool kSplit>
struct Sums {
    float sum[kWords][kRows], rest[kWords][kRows];

    M2T_DEVICE explicit Sums(float bound) {
        for (int j = 0; j < kWords; ++j) {
            for (int r = 0; r < kRows; ++r) sum[j][r] = bound, rest[j][r] = 0.0f;
        }
    }

    M2T_DEVICE void add(int j, int r, float weight, float value) {
        if (kSplit) {
            const float next = fmaf(weight, value, sum[j][r]);
            rest[j][r] += fmaf(weight, value, sum[j][r] - next);
            sum[j][r] = next;
        } else {
            sum[j][r] = fmaf(weight, value, sum[j][r]);
        }
    }

    // Sums of slices first, then of all: fewer terms follow one another.
    M2T_DEVICE void add_slice(const Sums& slice) {
        for (int j = 0; j < kWords; ++j) {
            for (int r = 0; r < kRows; ++r) sum[j][r] += slice.sum[j][r];
        }
    }
};

template <typename How, int kWords, int kRows, bool kSplit>
M2T_DEVICE void add_dimensions(const float* key, const float* query, const float* weight,
                               Sums<kWords, kRows, kSplit>& sums) {
    for (int d = 0; d < kDepth; d += 4) {
        const Four k = *reinterpret_cast<const Four*>(key + d);
        Four w[kRows];
        M2T_UNROLL
        for (int r = 0; r < kRows; ++r) w[r] = *reinterpret_cast<const Four*>(weight + r * kDepth + d);
        M2T_UNROLL
        for (int j = 0; j < kWords; ++j) {
            const Four q = *reinterpret_cast<const Four*>(query + j * kDepth + d);
            M2T_UNROLL
            for (int i = 0; i < 4; ++i) {
                const float value = How::tanh(k.v[i], q.v[i]);
                M2T_UNROLL
                for (int r = 0; r < kRows; ++r) sums.add(j, r, w[r].v[i], value);
            }
        }
    }
}

template <typename How, int kWords, int kRows, bool kSplit>
M2T_DEVICE void add_slice(const float* key, const float* query, const float* weight,
                          Sums<kWords, kRows, kSplit>& sums) {
    if (kSplit) {
        add_dimensions<How>(key, query, weight, sums);
    } else {
        Sums<kWords, kRows, kSplit> slice(0.0f);
        add_dimensions<How>(key, query, weight, slice);
        sums.add_slice(slice);
    }
}

// Copies a slice of `count` rows of (.., dim), of which there are `left`, at least one; what is outside counts as 0.
// Whether a number was too large for ByProduct.
template <typename How, typename T>
M2T_DEVICE bool fill(const T* from, std::int64_t left, std::int64_t dim, std::int64_t slice, int count, int step,
                     float* to) {
    const int column = static_cast<int>(threadIdx.x) % kDepth, first = static_cast<int>(threadIdx.x) / kDepth;
    const int rows = slice + column < dim ? static_cast<int>(smaller(left, count)) : 0;
    const T* at = from + first * dim + slice + column;
    to += first * step + column;
    bool large = false;
    M2T_UNROLL_BY_4
    for (int row = first; row < count; row += kThreads / kDepth) {
        // Read without a branch: several are on their way at a time.
        const float read = to_float(*(row < rows ? at : from)), x = row < rows ? read : 0.0f;
        large |= fabsf(x) > kLargest;
        *to = How::ready(x);
        at += kThreads / kDepth * dim;
        to += kThreads / kDepth * step;
    }
    return large;
}

// Whether a word of the tile looks at a frame of the tile; all do without stats.
M2T_DEVICE bool wanted(const WordStats* stats, std::int64_t words, std::int64_t first, std::int64_t last) {
    if (stats == nullptr) return true;
    bool any = false;
    for (std::int64_t j = 0; j < words; ++j) any |= stats[j].begin < last && stats[j].end > first;
    return any;
}

template <typename T, int kWords, int kRows, bool kSplit>
M2T_KERNEL void M2T_BOUNDS(kThreads, 4) attention_scores_kernel(const ScoreParameters<T> in, const int key_warps) {
    using Plain = std::conditional_t<kExact<T>, BySum, Approximately>;
    const AttentionSizes& n = in.sizes;
    const int tile = 32 * key_warps, word_tile = kWords * (kWarps / key_warps);
    const std::int64_t tiles = ceiling(n.frames * n.slots, tile);
    const std::int64_t word_tiles = ceiling(n.words, word_tile);
    const std::int64_t b = blockIdx.x / tiles / word_tiles, first_word = blockIdx.x / tiles % word_tiles * word_tile;
    const std::int64_t first = blockIdx.x % tiles * tile, dim = n.attention_dim;
    const std::int64_t count = valid_frames(in.lengths, b, n.frames) * n.slots;
    const std::int64_t words_left = n.words - first_word;
    const WordStats* stats = in.stats == nullptr ? nullptr : in.stats + b * n.words + first_word;
    if (first >= count ||
        !wanted(stats, smaller(word_tile, words_left), first / n.slots, ceiling(first + tile, n.slots))) {
        return;
    }
    const T* keys = in.keys + (b * n.frames * n.slots + first) * dim;
    const T* query = in.query + (b * n.words + first_word) * dim;
    const std::int64_t keys_left = count - first;

    float* key_slice = shared_memory<float>();
    float* query_slice = key_slice + tile * kKeyStep;
    float* weight_slice = query_slice + word_tile * kDepth;
    auto* votes = reinterpret_cast<unsigned*>(weight_slice + kRows * kDepth);
    const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    const int ours = warp % key_warps * 32 + lane, words = warp / key_warps * kWords;

    for (std::int64_t row = 0; row < in.rows; row += kRows) {
        float most_squares = 0.0f, magnitudes = 0.0f;
        if (kExact<T>) {
            for (std::int64_t r = row; r < smaller(row + kRows, in.rows); ++r) {
                float squares = 0.0f;
                magnitudes = 0.0f;
                for (std::int64_t d = lane; d < dim; d += 32) {
                    const float w = to_float(in.weight[r * dim + d]);
                    squares = fmaf(w, w, squares);
                    magnitudes += fabsf(w);
                }
                most_squares = fmaxf(most_squares, warp_sum(squares));
                magnitudes = warp_sum(magnitudes);
            }
        }
        const float bound = kSplit ? 4.0f * magnitudes : 0.0f;
        Sums<kWords, kRows, kSplit> sums(bound);
        for (std::int64_t slice = 0; slice < dim; slice += kDepth) {
            __syncthreads();
            fill<BySum>(in.weight + row * dim, in.rows - row, dim, slice, kRows, kDepth, weight_slice);
            bool product = kExact<T> && most_squares <= kMostSquares;
            if (product) {
                bool large = fill<ByProduct>(keys, keys_left, dim, slice, tile, kKeyStep, key_slice);
                large |= fill<ByProduct>(query, words_left, dim, slice, word_tile, kDepth, query_slice);
                const unsigned vote = __ballot_sync(kFullMask, large);
                if (lane == 0) votes[warp] = vote;
                __syncthreads();
                product = (votes[0] | votes[1] | votes[2] | votes[3]) == 0;
            }
            if (!product) {
                fill<Plain>(keys, keys_left, dim, slice, tile, kKeyStep, key_slice);
                fill<Plain>(query, words_left, dim, slice, word_tile, kDepth, query_slice);
                __syncthreads();
            }
            if (words < words_left) {
                const float *key = key_slice + ours * kKeyStep, *asked = query_slice + words * kDepth;
                if (kExact<T> && product) {
                    add_slice<ByProduct>(key, asked, weight_slice, sums);
                } else {
                    add_slice<Plain>(key, asked, weight_slice, sums);
                }
            }
        }
        if (first + ours >= count) continue;
        M2T_UNROLL
        for (int j = 0; j < kWords; ++j) {
            const std::int64_t word = first_word + words + j;
            if (word >= n.words) continue;
            const std::int64_t at = ((b * n.words + word) * n.frames * n.slots + first + ours) * in.rows + row;
            M2T_UNROLL
            for (int r = 0; r < kRows; ++r) {
                if (row + r < in.rows) in.scores[at + r] = sums.sum[j][r] - bound;
            }
            if (kSplit) in.rest[at] = sums.rest[j][0];
        }
    }
}

template <typename T, int kWords, int kRows, bool kSplit>
void launch_scores(const ScoreParameters<T>& in, const Place& place) {
    const AttentionSizes& n = in.sizes;
    int word_warps = 1;
    while (word_warps < kWarps && word_warps * kWords < n.words) word_warps *= 2;
    const int key_warps = kWarps / word_warps, tile = 32 * key_warps, word_tile = kWords * word_warps;
    const std::int64_t blocks = n.batch * ceiling(n.frames * n.slots, tile) * ceiling(n.words, word_tile);
    const std::size_t floats = tile * kKeyStep + (word_tile + kRows) * kDepth + kWarps;
    launch(attention_scores_kernel<T, kWords, kRows, kSplit>,
           {static_cast<unsigned>(blocks), 1, 1, kThreads, floats * sizeof(float)}, place, in, key_warps);
}

template <typename T, int kWords>
void launch_rows(const ScoreParameters<T>& in, const Place& place) {
    if (in.rows > 1) {
        launch_scores<T, kWords == 1 ? 1 : 2, kRowsAtOnce, false>(in, place);
    } else if (kExact<T> && in.rest != nullptr) {
        launch_scores<T, kWords, 1, kExact<T>>(in, place);
    } else {
        launch_scores<T, kWords, 1, false>(in, place);
    }
}

}  // namespace

template <typename T>
void attention_scores(const ScoreParameters<T>& in, const Place& place) {
    if (in.sizes.batch * in.sizes.words * in.sizes.frames == 0) return;
    if (in.sizes.words <= kWarps) {
        launch_rows<T, 1>(in, place);
    } else {
        launch_rows<T, 6>(in, place);
    }
}

template void attention_scores(const ScoreParameters<float>&, const Place&);
template void attention_scores(const ScoreParameters<bfloat16>&, const Place&);

}  // namespace m2t::cuda
