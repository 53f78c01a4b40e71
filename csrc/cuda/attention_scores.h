// What both kernels of scores share: how tiles are cut, and how slices of the attention dimensions reach shared memory.
#pragma once

#include "cuda/arena.h"
#include "cuda/attention_common.h"

namespace m2t::cuda {

constexpr int kScoreWarps = 4, kScoreThreads = 32 * kScoreWarps;
constexpr int kDepth = 64;  // dimensions of a slice

// A block's tile of keys and words: key_warps along the keys, kKeys to a warp, the other warps along the words, kWords
// to each. Made by the host, read by the kernel.
template <int kKeys, int kWords>
struct ScoreTiling {
    int key_warps;

    static ScoreTiling of(const AttentionSizes& n) {
        int word_warps = 1;
        while (word_warps < kScoreWarps && word_warps * kWords < n.words) word_warps *= 2;
        return {kScoreWarps / word_warps};
    }

    M2T_ANYWHERE int keys() const { return kKeys * key_warps; }
    M2T_ANYWHERE int words() const { return kWords * (kScoreWarps / key_warps); }
    M2T_ANYWHERE std::int64_t key_tiles(const AttentionSizes& n) const { return ceiling(n.frames * n.slots, keys()); }
    M2T_ANYWHERE std::int64_t word_tiles(const AttentionSizes& n) const { return ceiling(n.words, words()); }
    M2T_ANYWHERE std::int64_t blocks(const AttentionSizes& n) const { return n.batch * key_tiles(n) * word_tiles(n); }
};

// The tile of this block: its motion, first key and first word, how many of its keys and words exist, and
// whether it is wanted: with stats, whether a word of the tile looks at a frame of the tile.
struct ScoreTile {
    std::int64_t b, key, word;
    int keys_left, words_left;
    bool wanted;

    template <typename T, typename Tiling>
    M2T_DEVICE ScoreTile(const ScoreParameters<T>& in, const Tiling& tiling) {
        const AttentionSizes& n = in.sizes;
        const std::int64_t tiles = tiling.key_tiles(n), word_tiles = tiling.word_tiles(n);
        b = blockIdx.x / tiles / word_tiles;
        word = blockIdx.x / tiles % word_tiles * tiling.words();
        key = blockIdx.x % tiles * tiling.keys();
        const std::int64_t left = valid_frames(in.lengths, b, n.frames) * n.slots - key;
        keys_left = static_cast<int>(smaller(left, tiling.keys()));
        words_left = static_cast<int>(smaller(n.words - word, tiling.words()));
        wanted = left > 0;
        if (!wanted || in.stats == nullptr) return;
        const WordStats* stats = in.stats + b * n.words + word;
        const std::int64_t first = key / n.slots, last = ceiling(key + tiling.keys(), n.slots);
        wanted = false;
        for (std::int64_t j = 0; j < words_left; ++j) {
            wanted |= stats[j].begin < last && stats[j].end > first;
        }
    }
};

// Of the weights of one row: what is known of their sums before any tanh is made.
struct RowSums {
    float total = 0.0f, squares = 0.0f, magnitudes = 0.0f, largest = 0.0f;

    template <typename T>
    M2T_DEVICE RowSums(const T* weight, std::int64_t dim) {
        for (std::int64_t d = threadIdx.x % 32; d < dim; d += 32) {
            const float w = to_float(weight[d]);
            total += w;
            squares = fmaf(w, w, squares);
            magnitudes += fabsf(w);
            largest = fmaxf(largest, fabsf(w));
        }
        total = warp_sum(total), squares = warp_sum(squares);
        magnitudes = warp_sum(magnitudes), largest = warp_max(largest);
    }
};

constexpr int kRowsOfTurn = kScoreThreads / (kDepth / 4);  // rows of which a block's threads take four numbers each
constexpr int kWordTurns = 24 / kRowsOfTurn;
constexpr std::int64_t kWidest = 1 << 24;  // dimensions: the bytes of a row are counted in 31 bits

// Copies a slice of `count` rows of (.., dim), of which there are `left`, at least one, four numbers per thread; what
// is outside counts as 0. Returns the largest magnitude. kTurns: rows of a thread in the tiles that most launches have.
template <int kTurns, typename How, typename T>
M2T_DEVICE float stage_rows(const T* from, int left, std::int64_t dim, std::int64_t slice, int count, int step,
                            float* to) {
    constexpr int kColumns = kDepth / 4;
    const int column = static_cast<int>(threadIdx.x) % kColumns * 4, first = static_cast<int>(threadIdx.x) / kColumns;
    const std::int64_t dims_left = dim - slice - column;
    to += first * step + column;
    float largest = 0.0f;
    const auto keep = [&](Vec4 x) {
        M2T_UNROLL
        for (int i = 0; i < 4; ++i) largest = fmaxf(largest, fabsf(x.x[i])), x.x[i] = How::ready(x.x[i]);
        store_vec4(to, x);
        to += kRowsOfTurn * step;
    };
    if (begins_wide(from, dim) && slice + kDepth <= dim && dim <= kWidest) {
        // Rows beyond the last are read as the last, without a branch: several are on their way at a time.
        const T* begin = from + slice + column;
        const unsigned bytes = static_cast<unsigned>(dim) * static_cast<unsigned>(sizeof(T));
        const int last = left - 1;
        const auto turn = [&](int row) { keep(load_vec4(row_at(begin, row < last ? row : last, bytes))); };
        M2T_UNROLL_BY(kTurns)
        for (int row = first; row < count; row += kRowsOfTurn) turn(row);
    } else {
        M2T_UNROLL_BY(1)
        for (int row = first; row < count; row += kRowsOfTurn) {
            keep(load_vec4(from + row * dim + slice + column, row < left ? dims_left : 0, false));
        }
    }
    return largest;
}

// Whether ByProduct serves a slice whose numbers are `largest` at most in this thread: none of the block's is too
// large, and in float32 not all are small. votes: 2 kScoreWarps numbers of shared memory; a barrier before and after.
// NaN is neither, and shows either way.
template <typename T>
M2T_DEVICE bool serves_block(float largest, unsigned* votes) {
    const unsigned large = __ballot_sync(kFullMask, largest > kLargest);
    const unsigned common = __ballot_sync(kFullMask, !kExact<T> || !(largest <= kSmallest));
    if (threadIdx.x % 32 == 0) {
        votes[threadIdx.x / 32] = large;
        votes[kScoreWarps + threadIdx.x / 32] = common;
    }
    __syncthreads();
    unsigned any_large = 0, any_common = 0;
    M2T_UNROLL
    for (int i = 0; i < kScoreWarps; ++i) any_large |= votes[i], any_common |= votes[kScoreWarps + i];
    return any_large == 0 && any_common != 0;
}

// attention_scores for several rows of weights that are bfloat16 or, in float32 tensors, float16: on the matrix units.
template <typename T>
void attention_scores_by_matrix(const ScoreParameters<T>& in, const Place& place);

}  // namespace m2t::cuda
