// Scores of several rows of weights (eq. 5 in frame scoring) of bfloat16 or float16: the sum over the dimensions on the
// matrix units.
//
// What the rows are multiplied with, minus half of the tanh of 16 keys and 16 dimensions of one word, is made in the
// very registers in which the matrix units take it, in float16, whose error (2^-12) is far below what bfloat16
// resolves, and which is that of a tanh in float16. The weights are the other factor, each row scaled by a power of 2
// to fit float16, which holds all digits of bfloat16. Which 16 dimensions a product takes first does not matter, as
// long as the weights take the same: a lane has four that lie side by side.
#include <type_traits>

#include "cuda/attention_scores.h"

namespace m2t::cuda {
namespace {

constexpr int kKeyStep = kDepth + 16;  // a row of keys, so that 2 rows of 16 numbers come from all banks
constexpr int kMostRows = 8;           // of weights, at a time
constexpr int kKeys = 16;              // of a warp
constexpr int kKeyTurns = kKeys / kRowsOfTurn;
constexpr int kFragments = kDepth / 16;

struct Memory {
    float *keys, *query;  // (keys, kKeyStep), (words, kDepth)
    unsigned* weight;     // (kFragments, 32, 2): a lane's registers
    float* factor;
    unsigned* votes;

    M2T_ANYWHERE Memory(Arena& arena, int key_count, int word_count) {
        arena.take(keys, key_count * kKeyStep);
        arena.take(query, word_count * kDepth);
        arena.take(weight, kFragments * 2 * 32);
        arena.take(factor, kMostRows);
        arena.take(votes, 2 * kScoreWarps);
    }
};

// Adds a slice for kWords words: lane (g, t) makes the halves of keys g and g + 8, dimensions 4t to 4t + 3 of every 16,
// and keeps the sums of these keys with weight rows 2t and 2t + 1.
template <typename How, int kWords>
M2T_DEVICE void add_slice(const float* key, const float* query, const unsigned* weight, float (&sums)[kWords][4]) {
    const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, t = lane % 4;
    key += g * kKeyStep + 4 * t, query += 4 * t, weight += 2 * lane;
    M2T_UNROLL_BY(1)
    for (int step = 0; step < kFragments; ++step, key += 16, query += 16, weight += 64) {
        const unsigned b[2] = {weight[0], weight[1]};
        const Vec4 k[2] = {load_vec4(key), load_vec4(key + 8 * kKeyStep)};
        M2T_UNROLL
        for (int j = 0; j < kWords; ++j) {
            const Vec4 q = load_vec4(query + j * kDepth);
            unsigned a[4];
            M2T_UNROLL
            for (int i = 0; i < 4; ++i) {
                const Vec4& own = k[i % 2];
                const int d = i / 2 * 2;
                const Halves half = How::halves(own.x[d], q.x[d], own.x[d + 1], q.x[d + 1]);
                a[i] = pack_halves(half.first, half.second);
            }
            add_matrix_product(a, b, sums[j]);
        }
    }
}

// Four blocks per multiprocessor leave a thread 128 registers, a few too few for six words on sm_75 and sm_120.
constexpr int resident_blocks(int words) {
    return words < 6 || (kArchitecture >= 800 && kArchitecture < 1200) ? 4 : kArchitecture < 800 ? 3 : 2;
}

template <typename T, int kWords>
M2T_KERNEL void M2T_BOUNDS(kScoreThreads, resident_blocks(kWords))
    attention_scores_matrix_kernel(const ScoreParameters<T> in, const ScoreTiling<kKeys, kWords> tiling) {
    using Product = ByProduct<!kExact<T>>;
    using Sum = std::conditional_t<kExact<T>, BySum, Approximately>;
    const AttentionSizes& n = in.sizes;
    const ScoreTile tile(in, tiling);
    if (!tile.wanted) return;
    const std::int64_t dim = n.attention_dim;
    const T* keys = in.keys + (tile.b * n.frames * n.slots + tile.key) * dim;
    const T* query = in.query + (tile.b * n.words + tile.word) * dim;
    Arena arena(shared_memory<float>(), 16);
    const Memory memory(arena, tiling.keys(), tiling.words());
    const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    const int ours = warp % tiling.key_warps * kKeys, words = warp / tiling.key_warps * kWords;

    for (std::int64_t row = 0; row < in.rows; row += kMostRows) {
        __syncthreads();  // the last rows' factors were read
        for (int r = warp; r < kMostRows; r += kScoreWarps) {
            float factor = 1.0f;
            if (row + r < in.rows) {
                const RowSums of_row(in.weight + (row + r) * dim, dim);
                int exponent = 0;
                frexpf(of_row.largest, &exponent);
                factor = ldexpf(1.0f, exponent);
            }
            if (lane == 0) memory.factor[r] = factor;
        }
        float sums[kWords][4] = {};
        for (std::int64_t slice = 0; slice < dim; slice += kDepth) {
            __syncthreads();
            for (int i = static_cast<int>(threadIdx.x); i < kFragments * 64; i += kScoreThreads) {
                const int r = i % 64 / 8;
                const std::int64_t d = slice + i / 64 * 16 + i % 8 * 2;
                const T* w = in.weight + (row + r) * dim + d;
                const float first = row + r < in.rows && d < dim ? to_float(w[0]) : 0.0f;
                const float second = row + r < in.rows && d + 1 < dim ? to_float(w[1]) : 0.0f;
                memory.weight[i] = pack_halves(first / memory.factor[r], second / memory.factor[r]);
            }
            float largest =
                stage_rows<kKeyTurns, Product>(keys, tile.keys_left, dim, slice, tiling.keys(), kKeyStep, memory.keys);
            largest = fmaxf(largest, stage_rows<kWordTurns, Product>(query, tile.words_left, dim, slice, tiling.words(),
                                                                     kDepth, memory.query));
            const bool product = serves_block<T>(largest, memory.votes);
            if (!product) {
                stage_rows<kKeyTurns, Sum>(keys, tile.keys_left, dim, slice, tiling.keys(), kKeyStep, memory.keys);
                stage_rows<kWordTurns, Sum>(query, tile.words_left, dim, slice, tiling.words(), kDepth, memory.query);
                __syncthreads();
            }
            if (words >= tile.words_left) continue;
            const float *key = memory.keys + ours * kKeyStep, *q = memory.query + words * kDepth;
            if (product) {
                add_slice<Product>(key, q, memory.weight, sums);
            } else {
                add_slice<Sum>(key, q, memory.weight, sums);
            }
        }
        M2T_UNROLL
        for (int i = 0; i < 4; ++i) {
            const int r = lane % 4 * 2 + i % 2, key = ours + lane / 4 + i / 2 * 8;
            if (row + r >= in.rows || key >= tile.keys_left) continue;
            M2T_UNROLL
            for (int j = 0; j < kWords; ++j) {
                if (words + j >= tile.words_left) continue;
                const std::int64_t word = tile.word + words + j;
                const std::int64_t place = (tile.b * n.words + word) * n.frames * n.slots + tile.key + key;
                in.scores[place * in.rows + row + r] = -2.0f * memory.factor[r] * sums[j][i];
            }
        }
    }
}

template <typename T, int kWords>
void launch_matrix(const ScoreParameters<T>& in, const Place& place) {
    const auto tiling = ScoreTiling<kKeys, kWords>::of(in.sizes);
    Arena arena(nullptr, 16);
    const Memory measured(arena, tiling.keys(), tiling.words());
    launch(
        attention_scores_matrix_kernel<T, kWords>,
        {static_cast<unsigned>(tiling.blocks(in.sizes)), 1, 1, kScoreThreads, static_cast<std::size_t>(arena.used())},
        place, in, tiling);
}

}  // namespace

template <typename T>
void attention_scores_by_matrix(const ScoreParameters<T>& in, const Place& place) {
    if (in.sizes.words <= kScoreWarps) {
        launch_matrix<T, 1>(in, place);
    } else {
        launch_matrix<T, 6>(in, place);
    }
}

template void attention_scores_by_matrix(const ScoreParameters<float>&, const Place&);
template void attention_scores_by_matrix(const ScoreParameters<bfloat16>&, const Place&);

}  // namespace m2t::cuda
