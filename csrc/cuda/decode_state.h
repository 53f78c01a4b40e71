// What a decoding kernel gets: sizes, inputs, outputs, and everything that lives in global scratch.
#pragma once

#include "cuda/decode.h"
#include "cuda/tanh.h"
#include "cuda/vec4.h"

namespace m2t::cuda {

constexpr int kDecodeThreads = 256;
constexpr int kDecodeWarps = kDecodeThreads / 32;
constexpr int kColumns = 128;    // of a layer that a block makes at a time: four per lane
constexpr int kUnitTerms = 16;   // and columns of a weight that the matrix units take at a time
constexpr int kRows = 16;        // rows that share one pass over a weight, at most
constexpr int kTileRows = 8;     // that the matrix units take at a time
constexpr int kReducedRows = 8;  // rows whose sums over the warps are made at a time
constexpr int kTerms = 640;      // of a layer's input that shared memory holds at a time
constexpr int kMostSlots = 16;   // motions of a team

enum LayerName { kBottom, kTop, kQuery, kLanguage, kContext, kMixture, kOutput, kLayers };

// A layer's weight as `decode_pack_kernel` leaves it: (terms, columns), in the order of PackOrder. The columns of an
// LSTM are unit by unit, gates i, f, g, o beside one another; those of the queries are temporal, then spatial, in whole
// vectors of four.
template <typename T>
struct PackedLayer {
    const T* weight;
    int terms, columns;  // multiples of PackOrder::kTerms and of kColumns
};

// Where a column's term stands in a packed weight. In float32: row by row. In bfloat16, which the matrix units
// multiply: by 16 columns and 16 terms, as the registers of the 32 lanes hold them. Lane (g, t) has terms 4t to 4t + 3
// of columns g and g + 8: which terms the units take together does not matter, as long as the input takes the same.
template <typename T>
struct PackOrder {
    static constexpr bool kMatrix = !kExact<T>;
    static constexpr int kTerms = kMatrix ? kUnitTerms : 4;  // multiples of which a layer has

    M2T_DEVICE static std::int64_t place(int term, int column, int terms, int columns) {
        if (!kMatrix) return static_cast<std::int64_t>(term) * columns + column;
        const int lane = column % 8 * 4 + term % 16 / 4, pair = term % 4 / 2 * 2 + column % 16 / 8;
        const std::int64_t unit = static_cast<std::int64_t>(column / 16) * (terms / 16) + term / 16;
        return (unit * 32 + lane) * 8 + 2 * pair + term % 2;
    }
};

// Arrays that begin with NR have a row for every hypothesis of every slot of every team, those with NS one for a slot.
template <typename T>
struct DecodeScratch {
    float *hidden, *cell, *top, *top_cell;          // (2, NR, C): of the word before and of this one, in turns
    float *query, *z, *alpha, *context, *language;  // (NR, 2, vectors of D), (NR, T*S), (NR, T*P), (NR, H), (NR, D)
    float *adaptive, *gate, *features, *logits;     // (NR, D), (NR), (NR, M), (NR, packed V)
    float *tile_max, *tile_sum;                     // (NR, tiles of V): the largest logit, the sum of exponentials
    float *total, *row_max, *row_log;               // (NR): log-probability; log(sum(exp(logits))) in two parts
    float *best_total, *last_total;                 // (NR): of a row's next candidate; of its last one taken
    int *best_tile, *last_word;                     // (NR)
    float* taken_total;                             // (NR): the hypotheses that go on
    int *taken_row, *taken_word;                    // (NR)
    float *done_score, *merged_score;               // (NR) finished hypotheses, best first; (NR, 3) all that may be
    int *done_length, *done_row, *done_word;        // (NR)
    int *merged_length, *merged_row, *merged_word;  // (NR, 3)
    int *words, *origins;                           // (NS, W, K): each word, and its hypothesis at the word before
    int *best_row, *motion, *step, *live;           // (NS, W), (NS): rows of the best caption; motion or -1; ...
    int *finished, *finished_length;                // (NS): motion whose attention waits to be copied, or -1
    T *record_window, *record_alpha;                // (NS, W, K, T), (NS, W, K, T*P)
    T *record_mean, *record_std, *record_gate;      // (NS, W, K)
    int* next_motion;                               // the first motion that nobody has begun
};

template <typename T>
struct Decode {
    DecodeSizes n;
    DecodeOptions o;
    DecodeMemory<T> memory;
    DecoderWeights<T> w;
    SearchOutputs<T> out;
    SampleInputs<T> sample;  // words are null in a search
    DecodeScratch<T> s;
    PackedLayer<T> layer[kLayers];
    int teams, slots, rows;  // rows: of all teams
    bool aligned_keys, aligned_parts, aligned_inputs;
};

M2T_DEVICE int vectors_of(int n) { return (n + 3) / 4; }

// Shared memory of a block. The lists that follow it have an entry for each row of the moment.
struct DecodeShared {
    float input[kRows * kTerms];
    float sums[kDecodeWarps * kReducedRows * kColumns];
    float stats[4 * 4];  // of up to four rows: largest score, sum of exponentials, mean and deviation
    int live[kMostSlots], first[kMostSlots + 1];  // rows of each slot, and the list's entries before them
    int finished[kMostSlots];                     // motions whose attention waits to be copied, or -1
    int count;                                    // rows of the moment
    int turn;                                     // which of the two states is that of the word before
    int steps;                                    // of a caption that is sampled
};

// The lists of a team's moment, one entry a row, motion by motion.
enum ListName {
    kRowList,     // the row's number in scratch
    kFromList,    // that of the row that it follows, or -1
    kWordList,    // the word that it reads
    kMotionList,  // of the batch
    kStepList,    // words before this one
    kRowLists
};

// Where a part of the kernel runs. Little is kept in registers, the layers' sums need them all: every part has a Team
// of its own, whose thread is `fresh`.
template <typename T>
struct Team {
    const Decode<T>& d;
    int id;

    M2T_DEVICE int size() const { return static_cast<int>(cluster_size()); }  // blocks
    M2T_DEVICE int rank() const { return static_cast<int>(cluster_rank()); }  // of the block
    M2T_DEVICE int number() const { return static_cast<int>(blockIdx.x) / size(); }
    M2T_DEVICE int count() const { return shared().count; }
    M2T_DEVICE int thread() const { return id; }
    M2T_DEVICE int lane() const { return thread() % 32; }
    M2T_DEVICE int warp() const { return thread() / 32; }
    M2T_DEVICE DecodeShared& shared() const { return *shared_memory<DecodeShared>(); }
    M2T_DEVICE int& list(ListName name, int i) const {
        return reinterpret_cast<int*>(&shared() + 1)[name * d.slots * d.o.beams + i];
    }
    M2T_DEVICE int row(int i) const { return list(kRowList, i); }
    M2T_DEVICE int from(int i) const { return list(kFromList, i); }
    M2T_DEVICE int word(int i) const { return list(kWordList, i); }
    M2T_DEVICE int motion(int i) const { return list(kMotionList, i); }
    M2T_DEVICE int step(int i) const { return list(kStepList, i); }
    M2T_DEVICE int first_slot() const { return number() * d.slots; }
    // Whether this word needs logits: where sampling, the motions of a team are at the same word.
    M2T_DEVICE bool predicts() const { return d.sample.words == nullptr || !d.sample.coins[step(0) + 1]; }
    // Waits for all blocks of the team; what they wrote before is there after.
    M2T_DEVICE void wait() const {
        if (size() == 1) {
            __syncthreads();
        } else {
            __syncwarp();
            cluster_sync();
        }
    }
    M2T_DEVICE float* before(float* state) const {
        return state + static_cast<std::int64_t>(shared().turn) * d.rows * d.n.hidden;
    }
    M2T_DEVICE float* after(float* state) const {
        return state + static_cast<std::int64_t>(1 - shared().turn) * d.rows * d.n.hidden;
    }
    M2T_DEVICE int frames(int motion) const {
        const std::int64_t length = d.memory.lengths[motion];
        return length < 0 ? 0 : length > d.n.frames ? d.n.frames : static_cast<int>(length);
    }
};

template <typename T>
M2T_DEVICE Team<T> team_of(const Decode<T>& d) {
    return {d, fresh(static_cast<int>(threadIdx.x))};
}

}  // namespace m2t::cuda
