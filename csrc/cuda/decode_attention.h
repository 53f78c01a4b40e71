// Attention of the rows of one word against keys made once per motion, and the gate (eq. 2 to 8).
#pragma once

#include <cmath>

#include "cuda/decode_state.h"

namespace m2t::cuda {

constexpr int kUnit = 16;     // columns of the context that a warp makes at a time, of eight pairs
constexpr int kUnits = 16;    // units whose sums shared memory holds
constexpr int kPairs = 2048;  // weights of (frame, part) pairs that shared memory holds, of each of four rows
// Keys of a motion with one row that a warp has on their way. With eight, older cards' code would spill.
constexpr int kKeysInFlight = kArchitecture == 0 || kArchitecture >= 900 ? 8 : 4;

static_assert(4 * kPairs <= kRows * kTerms, "the weights lie where a layer's input does");
static_assert(4 * kUnit * kUnits <= kReducedRows * kColumns, "the sums lie where a layer's do");

// Calls run<Words>(slot, entry of the list) of a Work for every 4, 2 or 1 rows of every motion.
template <typename Work, typename T>
M2T_DEVICE void for_rows_of_motions(const Team<T>& t) {
    for (int slot = 0; slot < t.d.slots; ++slot) {
        const int last = t.shared().first[slot + 1];
        for (int i = t.shared().first[slot]; i < last;) {
            if (last - i >= 4) {
                Work{team_of(t.d)}.template run<4>(slot, i);
                i += 4;
            } else if (last - i >= 2) {
                Work{team_of(t.d)}.template run<2>(slot, i);
                i += 2;
            } else {
                Work{team_of(t.d)}.template run<1>(slot, i);
                i += 1;
            }
        }
    }
}

// Minus half of the tanh of four keys and queries; ByPairs has made the queries ready.
M2T_DEVICE Vec4 halves_of_sums(const Vec4& key, const Vec4& query) {
    Vec4 y;
    M2T_UNROLL
    for (int c = 0; c < 4; c += 2) {
        const Halves pair = ByPairs::halves(key.x[c], query.x[c], key.x[c + 1], query.x[c + 1]);
        y.x[c] = pair.first, y.x[c + 1] = pair.second;
    }
    return y;
}

// Four dimensions of a row's query.
M2T_DEVICE Vec4 ready_query(const float* query) {
    Vec4 x = load_vec4(query);
    M2T_UNROLL
    for (int c = 0; c < 4; ++c) x.x[c] = ByPairs::ready(x.x[c]);
    return x;
}

// Scores of Words rows of a motion with `count` of up to Keys keys, j and every `step`-th after it, a warp, which has
// all of them on their way at a time: z, and Rows of the spatial scores from weight row `first` on.
template <typename T, int Keys, int Words, int Rows>
M2T_DEVICE void score_keys(const Team<T>& t, int i, std::int64_t before, int j, int step, int count, int first,
                           bool temporal) {
    const Decode<T>& d = t.d;
    const int dim = d.n.attention_dim, vectors = vectors_of(dim), padded = 4 * vectors;
    const bool aligned = d.aligned_keys;
    float z[Keys][Words] = {}, a[Keys][Words][Rows] = {};
    for (int q = t.lane(); q < vectors; q += 32) {
        const int k = 4 * q;
        const std::int64_t at = (before + j) * dim + k, next = static_cast<std::int64_t>(step) * dim;
        Vec4 key[Keys];
        M2T_UNROLL
        for (int m = 0; m < Keys; ++m) {  // what is not there is read as the first one
            key[m] = load_vec4(d.memory.spatial_keys + at + (m < count ? m * next : 0), dim - k, aligned);
        }
        Vec4 weight[Rows];
        M2T_UNROLL
        for (int r = 0; r < Rows; ++r) {
            const T* row = d.w.spatial_weight + static_cast<std::int64_t>(first + r) * dim;
            weight[r] = load_vec4(row + k, dim - k, aligned);
        }
        M2T_UNROLL
        for (int l = 0; l < Words; ++l) {
            const float* query = d.s.query + static_cast<std::int64_t>(t.row(i + l)) * 2 * padded + k;
            const Vec4 x = ready_query(query + padded);
            M2T_UNROLL
            for (int m = 0; m < Keys; ++m) {
                const Vec4 y = halves_of_sums(key[m], x);
                M2T_UNROLL
                for (int c = 0; c < 4; ++c) {
                    M2T_UNROLL
                    for (int r = 0; r < Rows; ++r) a[m][l][r] = fmaf(weight[r].x[c], y.x[c], a[m][l][r]);
                }
            }
        }
        if (temporal) {
            M2T_UNROLL
            for (int m = 0; m < Keys; ++m) {
                key[m] = load_vec4(d.memory.temporal_keys + at + (m < count ? m * next : 0), dim - k, aligned);
            }
            const Vec4 temporal_weight = load_vec4(d.w.temporal_weight + k, dim - k, aligned);
            M2T_UNROLL
            for (int l = 0; l < Words; ++l) {
                const float* query = d.s.query + static_cast<std::int64_t>(t.row(i + l)) * 2 * padded + k;
                const Vec4 x = ready_query(query);
                M2T_UNROLL
                for (int m = 0; m < Keys; ++m) {
                    const Vec4 y = halves_of_sums(key[m], x);
                    M2T_UNROLL
                    for (int c = 0; c < 4; ++c) z[m][l] = fmaf(temporal_weight.x[c], y.x[c], z[m][l]);
                }
            }
        }
    }
    const int weight_rows = d.n.slots == d.n.parts ? 1 : d.n.parts;
    M2T_UNROLL
    for (int m = 0; m < Keys; ++m) {
        if (m >= count) continue;
        const int key = j + m * step;
        M2T_UNROLL
        for (int l = 0; l < Words; ++l) {
            const std::int64_t row = t.row(i + l);
            if (temporal) {
                const float sum = -2.0f * warp_sum(z[m][l]);
                if (t.lane() == 0) d.s.z[row * d.n.frames * d.n.slots + key] = sum;
            }
            M2T_UNROLL
            for (int r = 0; r < Rows; ++r) {
                const float sum = -2.0f * warp_sum(a[m][l][r]);
                if (t.lane() == 0) {
                    d.s.alpha[row * d.n.frames * d.n.parts + static_cast<std::int64_t>(key) * weight_rows + first + r] =
                        sum + to_float(d.w.spatial_bias[first + r]);
                }
            }
        }
    }
}

// All scores of some rows of a motion; the keys are shared out among the warps of the team.
template <typename T>
struct ScoreRows {
    Team<T> t;

    template <int Words>
    M2T_DEVICE void run(int, int i) const {
        const DecodeSizes& n = t.d.n;
        const int motion = t.motion(i), keys = t.frames(motion) * n.slots;
        const std::int64_t before = static_cast<std::int64_t>(motion) * n.frames * n.slots;
        if (n.slots == n.parts) {
            score<Words == 1 ? kKeysInFlight : 4 / Words, Words, 1>(i, before, keys, 0);
        } else {
            int r = 0;
            for (; r + 3 <= n.parts; r += 3) score<Words == 1 ? 2 : 1, Words, 3>(i, before, keys, r);
            for (; r < n.parts; ++r) score<Words == 1 ? 2 : 1, Words, 1>(i, before, keys, r);
        }
    }

    // Spatial scores from weight row `first` on, and with the first rows the temporal ones.
    template <int Keys, int Words, int Rows>
    M2T_DEVICE void score(int i, std::int64_t before, int keys, int first) const {
        const int step = t.size() * kDecodeWarps;
        for (int j = t.rank() * kDecodeWarps + t.warp(); j < keys; j += Keys * step) {
            const int left = (keys - j + step - 1) / step;
            score_keys<T, Keys, Words, Rows>(t, i, before, j, step, left < Keys ? left : Keys, first, first == 0);
        }
    }
};

template <typename T>
M2T_DEVICE void score_rows(const Team<T>& t) {
    for_rows_of_motions<ScoreRows<T>>(t);
}

// Eq. 7: a warp of the team for every row.
template <typename T>
M2T_DEVICE void open_gates(const Team<T>& t) {
    const Decode<T>& d = t.d;
    for (int i = t.rank() * kDecodeWarps + t.warp(); i < t.count(); i += t.size() * kDecodeWarps) {
        const float* hidden = t.after(d.s.hidden) + static_cast<std::int64_t>(t.row(i)) * d.n.hidden;
        const T* word = d.w.embedding + static_cast<std::int64_t>(t.word(i)) * d.n.word;
        float sum = 0.0f;
        for (int k = t.lane(); k < d.n.hidden; k += 32) sum = fmaf(hidden[k], to_float(d.w.gate_hidden[k]), sum);
        for (int k = t.lane(); k < d.n.word; k += 32) sum = fmaf(to_float(word[k]), to_float(d.w.gate_word[k]), sum);
        sum = warp_sum(sum) + to_float(*d.w.gate_bias);
        const bool forced = d.o.force_gate == d.o.force_gate;
        if (t.lane() == 0) d.s.gate[t.row(i)] = forced ? d.o.force_gate : sigmoid(sum);
    }
}

// Eq. 3: the softmax of a row's temporal scores and its two moments, a warp.
template <typename T>
M2T_DEVICE void window_of_row(const Team<T>& t, int row, int frames, float* stats) {
    const int slots = t.d.n.slots, count = frames * slots;
    const float* z = t.d.s.z + static_cast<std::int64_t>(row) * t.d.n.frames * slots;
    float most = -INFINITY;
    for (int j = t.lane(); j < count; j += 32) most = fmaxf(most, z[j]);
    most = warp_max(most);
    float total = 0.0f, first = 0.0f, second = 0.0f;
    for (int j = t.lane(); j < count; j += 32) {
        const float e = expf(z[j] - most);
        total += e;
        first = fmaf(static_cast<float>(j / slots), e, first);
    }
    total = warp_sum(total);
    const float mean = warp_sum(first) / total;
    for (int j = t.lane(); j < count; j += 32) {
        const float offset = static_cast<float>(j / slots) - mean;
        second = fmaf(offset * offset, expf(z[j] - most), second);
    }
    const float variance = warp_sum(second) / total, least = t.d.o.sigma_min * t.d.o.sigma_min;
    if (t.lane() == 0) {
        stats[0] = mean;
        stats[1] = sqrtf(variance < least ? least : variance);  // NaN stays NaN
    }
}

// The window, alpha and the context of some rows of a motion (eq. 4, 6 and 8). The blocks of a team share the motions;
// of those that have one together each makes some units of the context's columns, and one keeps the attention for the
// caption.
template <typename T>
struct MixRows {
    Team<T> t;

    // Groups of blocks, with motions of their own: a power of 2, as a team's blocks are.
    M2T_DEVICE int groups() const {
        int n = 1;
        while (2 * n <= t.d.slots && 2 * n <= t.size()) n *= 2;
        return n;
    }

    template <int Words>
    M2T_DEVICE void run(int slot, int i) const {
        const Decode<T>& d = t.d;
        const int features = d.n.part_dim, units = (features + kUnit - 1) / kUnit;
        const int rank = t.rank() / groups(), size = t.size() / groups();
        if (slot % groups() != t.rank() % groups() || rank >= units) return;
        const int frames = t.frames(t.motion(i)), parts = d.n.parts;
        const bool keeps = d.out.window != nullptr && rank == slot / groups() % (size < units ? size : units);
        __syncthreads();
        if (t.warp() < Words) window_of_row(t, t.row(i + t.warp()), frames, t.shared().stats + 4 * t.warp());
        __syncthreads();
        if (keeps && t.thread() < Words) {
            const std::int64_t at = record(slot, i + t.thread());
            d.s.record_mean[at] = from_float<T>(t.shared().stats[4 * t.thread()]);
            d.s.record_std[at] = from_float<T>(t.shared().stats[4 * t.thread() + 1]);
            d.s.record_gate[at] = from_float<T>(d.s.gate[t.row(i + t.thread())]);
        }
        const int some = kPairs / parts;  // frames at a time
        const int owned = (units - rank + size - 1) / size;
        for (int first_unit = 0; first_unit < owned; first_unit += kUnits) {
            const int count = owned - first_unit < kUnits ? owned - first_unit : kUnits;
            for (int frame = 0; frame < frames || frame == 0; frame += some) {
                const int left = frames - frame < some ? frames - frame : some;
                __syncthreads();
                for (int l = 0; l < Words; ++l) {
                    for (int f = t.thread(); f < left; f += kDecodeThreads) {
                        weigh_frame(i + l, l, frame, f, keeps && first_unit == 0 ? record(slot, i + l) : -1);
                    }
                }
                __syncthreads();
                for (int u = 0; u < count; ++u) {
                    const int unit = rank + (first_unit + u) * size;
                    mix_unit<Words>(i, unit, u, frame * parts, left * parts, frame > 0);
                }
            }
            __syncthreads();
            for (int l = 0; l < Words; ++l) {
                for (int k = t.thread(); k < count * kUnit; k += kDecodeThreads) {
                    const int column = (rank + (first_unit + k / kUnit) * size) * kUnit + k % kUnit;
                    float total = 0.0f;
                    for (int w = 0; w < kDecodeWarps; ++w) total += t.shared().sums[sum_at(w, l) + k];
                    if (column < features) {
                        d.s.context[static_cast<std::int64_t>(t.row(i + l)) * features + column] = total;
                    }
                }
            }
        }
    }

    M2T_DEVICE static int sum_at(int warp, int word) { return (warp * 4 + word) * kUnit * kUnits; }

    // Where the attention of entry i is kept: its step and its place among its motion's hypotheses.
    M2T_DEVICE std::int64_t record(int slot, int i) const {
        const DecodeOptions& o = t.d.o;
        return (static_cast<std::int64_t>(t.first_slot() + slot) * o.max_length + t.step(i)) * o.beams +
               (i - t.shared().first[slot]);
    }

    // The weights of a frame's parts, frame `first` + f, as word l of the block; kept at `at` unless that is negative.
    M2T_DEVICE void weigh_frame(int i, int l, int first, int f, std::int64_t at) const {
        const Decode<T>& d = t.d;
        const int parts = d.n.parts, frame = first + f;
        const float* score = d.s.alpha + static_cast<std::int64_t>(t.row(i)) * d.n.frames * parts +
                             static_cast<std::int64_t>(frame) * parts;
        float most = -INFINITY, total = 0.0f;
        for (int p = 0; p < parts; ++p) most = fmaxf(most, score[p]);
        for (int p = 0; p < parts; ++p) total += expf(score[p] - most);
        const float offset = (static_cast<float>(frame) - t.shared().stats[4 * l]) / t.shared().stats[4 * l + 1];
        const float window = expf(-0.5f * offset * offset);
        float* weight = t.shared().input + l * kPairs + f * parts;
        for (int p = 0; p < parts; ++p) {
            const float alpha = expf(score[p] - most) / total;
            weight[p] = d.o.scale * window * alpha;
            if (at >= 0) d.s.record_alpha[(at * d.n.frames + frame) * parts + p] = from_float<T>(alpha);
        }
        if (at >= 0) d.s.record_window[at * d.n.frames + frame] = from_float<T>(window);
    }

    // Adds `count` pairs from pair `first` on of a unit's columns; a warp takes every eighth eight of them.
    template <int Words>
    M2T_DEVICE void mix_unit(int i, int unit, int place, int first, int count, bool more) const {
        const Decode<T>& d = t.d;
        const int features = d.n.part_dim, column = unit * kUnit + 4 * (t.lane() % 4), beside = t.lane() / 4;
        const std::int64_t frames_before = static_cast<std::int64_t>(t.motion(i)) * d.n.frames;
        const T* parts = d.memory.parts + (frames_before * d.n.parts + first) * features + column;
        Vec4 sum[Words] = {};
        if (column < features) {
            M2T_UNROLL_BY(8)
            for (int p = t.warp() * 8 + beside; p < count; p += kDecodeWarps * 8) {
                const T* pair = parts + static_cast<std::int64_t>(p) * features;
                const Vec4 x = load_vec4(pair, features - column, d.aligned_parts);
                M2T_UNROLL
                for (int l = 0; l < Words; ++l) {
                    const float weight = t.shared().input[l * kPairs + p];
                    M2T_UNROLL
                    for (int c = 0; c < 4; ++c) sum[l].x[c] = fmaf(weight, x.x[c], sum[l].x[c]);
                }
            }
        }
        __syncwarp();
        M2T_UNROLL
        for (int l = 0; l < Words; ++l) {
            M2T_UNROLL
            for (int c = 0; c < 4; ++c) {
                M2T_UNROLL
                for (unsigned step = 4; step < 32; step *= 2) {
                    sum[l].x[c] += __shfl_xor_sync(kFullMask, sum[l].x[c], step);
                }
            }
            if (beside == 0) {
                float* to = t.shared().sums + sum_at(t.warp(), l) + place * kUnit + 4 * t.lane();
                if (more) {
                    const Vec4 before = load_vec4(to);
                    M2T_UNROLL
                    for (int c = 0; c < 4; ++c) sum[l].x[c] += before.x[c];
                }
                store_vec4(to, sum[l]);
            }
        }
    }
};

template <typename T>
M2T_DEVICE void mix_rows(const Team<T>& t) {
    for_rows_of_motions<MixRows<T>>(t);
}

}  // namespace m2t::cuda
