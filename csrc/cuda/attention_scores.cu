// Scores of eq. 2 and 5: a tanh for every word, key and attention dimension, all of them summed in registers.
//
// A block takes a tile of keys and a few words of one motion. The attention dimensions pass through shared memory, a
// slice at a time; a lane owns one key and sums over the slice for kWords words, which its warp shares. What is summed
// of one row of weights is -2 w (1 - tanh) / 2, to which the weights are added after every few dimensions (all at the
// end where sums are exact), and of several rows -2 w times minus half of tanh (see tanh.h). Weights too large for
// either take w tanh.
#include <type_traits>

#include "cuda/attention_scores.h"

namespace m2t::cuda {
namespace {

constexpr int kKeyStep = kDepth + 4;  // a row of keys, so that 8 lanes read 8 rows from all banks
constexpr int kKeyTurns = 32 / kRowsOfTurn;
constexpr int kStep = 8;  // dimensions whose weights are added beforehand
constexpr bool kDataCentre = kArchitecture >= 800 && kArchitecture < 1200;  // elsewhere four blocks would spill
constexpr int kRowsAtOnce = 6;  // rows of weights that share a tanh; more take another one

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

// A tanh at a time: factor * tanh + offset.
template <typename How>
struct Single {
    float factor, offset;

    template <int kWords, int kRows, bool kSplit>
    M2T_DEVICE void add(int j, const Vec4& k, const Vec4& q, const Vec4 (&w)[kRows],
                        Sums<kWords, kRows, kSplit>& sums) const {
        M2T_UNROLL
        for (int i = 0; i < 4; ++i) {
            const float value = fmaf(factor, How::tanh(k.x[i], q.x[i]), offset);
            M2T_UNROLL
            for (int r = 0; r < kRows; ++r) sums.add(j, r, w[r].x[i], value);
        }
    }

    template <typename Kept>
    M2T_DEVICE void before(int, Kept&) const {}
};

// Two at a time, from one reciprocal. One row of weights: w / x + v / y = (w y + v x) / (x y).
template <typename How>
struct Pairs {
    const float* constants;  // the sums of kStep weights each

    template <int kWords, int kRows, bool kSplit>
    M2T_DEVICE void add(int j, const Vec4& k, const Vec4& q, const Vec4 (&w)[kRows],
                        Sums<kWords, kRows, kSplit>& sums) const {
        M2T_UNROLL
        for (int i = 0; i < 4; i += 2) {
            if (kRows == 1) {
                const float x = How::denominator(k.x[i], q.x[i]), y = How::denominator(k.x[i + 1], q.x[i + 1]);
                const float r = approximate_reciprocal(x * y);
                sums.add(j, 0, fmaf(w[0].x[i], y, w[0].x[i + 1] * x), r);
                continue;
            }
            const Halves half = How::halves(k.x[i], q.x[i], k.x[i + 1], q.x[i + 1]);
            M2T_UNROLL
            for (int r = 0; r < kRows; ++r) {
                sums.add(j, r, w[r].x[i], half.first);
                sums.add(j, r, w[r].x[i + 1], half.second);
            }
        }
    }

    template <int kWords, int kRows, bool kSplit>
    M2T_DEVICE void before(int step, Sums<kWords, kRows, kSplit>& sums) const {
        if (kRows > 1 || kSplit) return;
        const float constant = constants[step];
        M2T_UNROLL
        for (int j = 0; j < kWords; ++j) sums.sum[j][0] += constant;
    }
};

template <typename Way, int kWords, int kRows, bool kSplit>
M2T_DEVICE void add_dimensions(const Way& way, const float* key, const float* query, const float* weight,
                               Sums<kWords, kRows, kSplit>& sums) {
    M2T_UNROLL_BY(1)
    for (int step = 0; step < kDepth; step += kStep) {
        way.before(step / kStep, sums);
        M2T_UNROLL
        for (int d = step; d < step + kStep; d += 4) {
            const Vec4 k = load_vec4(key + d);
            Vec4 w[kRows];
            M2T_UNROLL
            for (int r = 0; r < kRows; ++r) w[r] = load_vec4(weight + r * kDepth + d);
            M2T_UNROLL
            for (int j = 0; j < kWords; ++j) way.add(j, k, load_vec4(query + j * kDepth + d), w, sums);
        }
    }
}

template <typename Way, int kWords, int kRows, bool kSplit>
M2T_DEVICE void add_slice(const Way& way, const float* key, const float* query, const float* weight,
                          Sums<kWords, kRows, kSplit>& sums) {
    if (kSplit) {
        add_dimensions(way, key, query, weight, sums);
    } else {
        Sums<kWords, kRows, kSplit> slice(0.0f);
        add_dimensions(way, key, query, weight, slice);
        sums.add_slice(slice);
    }
}

// A block's shared memory.
struct Memory {
    float *keys, *query, *weight;  // (keys, kKeyStep), (words, kDepth), (rows, kDepth)
    float* constants;              // (kDepth / kStep): sums of the first row's weights
    unsigned* votes;

    M2T_ANYWHERE Memory(Arena& arena, int key_count, int word_count, int rows) {
        arena.take(keys, key_count * kKeyStep);
        arena.take(query, word_count * kDepth);
        arena.take(weight, rows * kDepth);
        arena.take(constants, kDepth / kStep);
        arena.take(votes, 2 * kScoreWarps);
    }
};

template <typename T, int kWords, int kRows, bool kSplit>
M2T_KERNEL void M2T_BOUNDS(kScoreThreads, kRows == 1 && kDataCentre ? 4 : 3)
    attention_scores_kernel(const ScoreParameters<T> in, const ScoreTiling<32, kWords> tiling) {
    using Product = ByProduct<!kExact<T>>;
    using Sum = std::conditional_t<kExact<T>, BySum, Approximately>;
    const AttentionSizes& n = in.sizes;
    const ScoreTile tile(in, tiling);
    if (!tile.wanted) return;
    const std::int64_t dim = n.attention_dim;
    const T* keys = in.keys + (tile.b * n.frames * n.slots + tile.key) * dim;
    const T* query = in.query + (tile.b * n.words + tile.word) * dim;
    Arena arena(shared_memory<float>(), 16);
    const Memory memory(arena, tiling.keys(), tiling.words(), kRows);
    const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    const int ours = warp % tiling.key_warps * 32 + lane, words = warp / tiling.key_warps * kWords;

    for (std::int64_t row = 0; row < in.rows; row += kRows) {
        float total[kRows] = {}, most_squares = 0.0f, bound = 0.0f;
        M2T_UNROLL
        for (int r = 0; r < kRows; ++r) {
            if (row + r >= in.rows) continue;
            const RowSums of_row(in.weight + (row + r) * dim, dim);
            total[r] = of_row.total;
            most_squares = fmaxf(most_squares, of_row.squares);
            if (kSplit) bound = 8.0f * of_row.magnitudes;
        }
        const bool plain = kExact<T> && !(most_squares <= kMostSquares);
        const float factor = plain ? 1.0f : -2.0f;
        Sums<kWords, kRows, kSplit> sums(bound);
        for (std::int64_t slice = 0; slice < dim; slice += kDepth) {
            __syncthreads();
            for (int i = static_cast<int>(threadIdx.x); i < kRows * kDepth; i += kScoreThreads) {
                const std::int64_t r = row + i / kDepth, d = slice + i % kDepth;
                memory.weight[i] = r < in.rows && d < dim ? factor * to_float(in.weight[r * dim + d]) : 0.0f;
            }
            for (int i = static_cast<int>(threadIdx.x); i < kDepth / kStep && kRows == 1 && !kSplit;
                 i += kScoreThreads) {
                float sum = 0.0f;
                for (std::int64_t d = slice + i * kStep; d < smaller(slice + (i + 1) * kStep, dim); ++d) {
                    sum += to_float(in.weight[row * dim + d]);
                }
                memory.constants[i] = sum;
            }
            bool product = !plain;
            if (product) {
                float largest = stage_rows<kKeyTurns, Product>(keys, tile.keys_left, dim, slice, tiling.keys(),
                                                               kKeyStep, memory.keys);
                largest = fmaxf(largest, stage_rows<kWordTurns, Product>(query, tile.words_left, dim, slice,
                                                                         tiling.words(), kDepth, memory.query));
                product = serves_block<T>(largest, memory.votes);
            }
            if (!product) {
                stage_rows<kKeyTurns, Sum>(keys, tile.keys_left, dim, slice, tiling.keys(), kKeyStep, memory.keys);
                stage_rows<kWordTurns, Sum>(query, tile.words_left, dim, slice, tiling.words(), kDepth, memory.query);
                __syncthreads();
            }
            if (words < tile.words_left) {
                const float *key = memory.keys + ours * kKeyStep, *q = memory.query + words * kDepth;
                if (product) {
                    add_slice(Pairs<Product>{memory.constants}, key, q, memory.weight, sums);
                } else {
                    add_slice(Single<Sum>{plain ? 1.0f : -0.5f, kSplit && !plain ? 0.5f : 0.0f}, key, q, memory.weight,
                              sums);
                }
            }
        }
        if (ours >= tile.keys_left) continue;
        M2T_UNROLL
        for (int j = 0; j < kWords; ++j) {
            if (words + j >= tile.words_left) continue;
            const std::int64_t word = tile.word + words + j;
            const std::int64_t place = (tile.b * n.words + word) * n.frames * n.slots + tile.key + ours;
            M2T_UNROLL
            for (int r = 0; r < kRows; ++r) {
                if (row + r >= in.rows) continue;
                if (kSplit && !plain) sums.add(j, r, 1.0f, total[r]);
                in.scores[place * in.rows + row + r] = sums.sum[j][r] - bound;
            }
            if (kSplit) in.rest[place * in.rows + row] = sums.rest[j][0];
        }
    }
}

template <typename T, int kWords, int kRows, bool kSplit>
void launch_scores(const ScoreParameters<T>& in, const Place& place) {
    const auto tiling = ScoreTiling<32, kWords>::of(in.sizes);
    Arena arena(nullptr, 16);
    const Memory measured(arena, tiling.keys(), tiling.words(), kRows);
    launch(
        attention_scores_kernel<T, kWords, kRows, kSplit>,
        {static_cast<unsigned>(tiling.blocks(in.sizes)), 1, 1, kScoreThreads, static_cast<std::size_t>(arena.used())},
        place, in, tiling);
}

template <typename T, int kWords>
void launch_rows(const ScoreParameters<T>& in, const Place& place) {
    if (in.rows > 1) {
        if constexpr (kExact<T>) {
            if (!in.half) return launch_scores<T, kWords == 1 ? 1 : 2, kRowsAtOnce, false>(in, place);
        }
        attention_scores_by_matrix(in, place);
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
    if (in.sizes.words <= kScoreWarps) {
        launch_rows<T, 1>(in, place);
    } else {
        launch_rows<T, 6>(in, place);
    }
}

template void attention_scores(const ScoreParameters<float>&, const Place&);
template void attention_scores(const ScoreParameters<bfloat16>&, const Place&);

}  // namespace m2t::cuda
