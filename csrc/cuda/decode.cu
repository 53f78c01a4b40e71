// Whole captions in one launch: what a team of blocks does from its first word to its last, and how it is launched.
#include "cuda/decode.h"

#include <algorithm>

#include "cuda/decode_attention.h"
#include "cuda/decode_choose.h"
#include "cuda/decode_products.h"
#include "cuda/decode_scratch.h"
#include "cuda/decode_state.h"

namespace m2t::cuda {
namespace {

// Bytes of scratch beyond which fewer motions are decoded at a time.
constexpr std::int64_t kScratchBytes = std::int64_t{1} << 30;

// Fills the lists with the rows of the next word, and turns the states.
template <typename T>
M2T_DEVICE void list_rows(const Team<T>& t) {
    const Decode<T>& d = t.d;
    if (t.thread() < d.slots) {
        const int slot = t.first_slot() + t.thread(), motion = d.s.motion[slot], live = d.s.live[slot];
        t.shared().finished[t.thread()] = d.s.finished[slot];
        t.shared().live[t.thread()] = motion < 0 ? 0 : live;
    }
    __syncthreads();
    if (t.thread() == 0) {
        t.shared().first[0] = 0;
        for (int slot = 0; slot < d.slots; ++slot) {
            t.shared().first[slot + 1] = t.shared().first[slot] + t.shared().live[slot];
        }
        t.shared().count = t.shared().first[d.slots];
        t.shared().turn = 1 - t.shared().turn;
    }
    __syncthreads();
    for (int j = t.thread(); j < d.slots * d.o.beams; j += kDecodeThreads) {
        const int slot = j / d.o.beams, k = j % d.o.beams;
        if (k >= t.shared().live[slot]) continue;
        const int i = t.shared().first[slot] + k, place = t.first_slot() + slot;
        const int motion = d.s.motion[place], step = d.s.step[place];
        t.list(kRowList, i) = place * d.o.beams + k;
        t.list(kMotionList, i) = motion;
        t.list(kStepList, i) = step;
        if (d.sample.words != nullptr) {
            const std::int64_t word = d.sample.words[static_cast<std::int64_t>(motion) * d.o.max_length + step];
            t.list(kWordList, i) = static_cast<int>(word < 0 ? 0 : word < d.n.vocabulary ? word : d.n.vocabulary - 1);
            t.list(kFromList, i) = step == 0 ? -1 : place;
        } else {
            const std::int64_t before = (static_cast<std::int64_t>(place) * d.o.max_length + step - 1) * d.o.beams + k;
            t.list(kWordList, i) = step == 0 ? d.o.start : d.s.words[before];
            t.list(kFromList, i) = step == 0 ? -1 : place * d.o.beams + d.s.origins[before];
        }
    }
    __syncthreads();
}

// The attention of captions that were completed at the word before, by all blocks of the team.
template <typename T>
M2T_DEVICE void write_attention(const Team<T>& t) {
    const Decode<T>& d = t.d;
    if (d.sample.words != nullptr) return;
    const int width = d.o.max_length, frames = d.n.frames, parts = d.n.parts;
    const int thread = t.rank() * kDecodeThreads + t.thread(), threads = t.size() * kDecodeThreads;
    const T zero = from_float<T>(0.0f);
    for (int i = 0; i < d.slots; ++i) {
        const std::int64_t slot = t.first_slot() + i;
        const int motion = t.shared().finished[i];
        if (motion < 0) continue;
        const int length = d.s.finished_length[slot], used = t.frames(motion);
        for (int j = 0; j < width; ++j) {
            const bool inside = j < length;
            const std::int64_t from = (slot * width + j) * d.o.beams + (inside ? d.s.best_row[slot * width + j] : 0);
            const std::int64_t to = static_cast<std::int64_t>(motion) * width + j;
            for (int f = thread; f < frames; f += threads) {
                d.out.window[to * frames + f] = inside && f < used ? d.s.record_window[from * frames + f] : zero;
            }
            const T* alpha = d.s.record_alpha + from * frames * parts;
            for (std::int64_t p = thread; p < static_cast<std::int64_t>(frames) * parts; p += threads) {
                d.out.spatial[to * frames * parts + p] =
                    inside && p < static_cast<std::int64_t>(used) * parts ? alpha[p] : zero;
            }
            if (thread == 0) {
                d.out.mean[to] = inside ? d.s.record_mean[from] : zero;
                d.out.std[to] = inside ? d.s.record_std[from] : zero;
                d.out.gate[to] = inside ? d.s.record_gate[from] : zero;
            }
        }
    }
}

// The steps of a caption that is sampled: up to the last word that is not given.
template <typename T>
M2T_DEVICE void count_steps(const Team<T>& t) {
    if (t.warp() == 0) {
        int steps = 0;
        for (int j = t.lane(); j < t.d.o.max_length; j += 32) steps = t.d.sample.coins[j] ? steps : j;
        steps = static_cast<int>(warp_max(static_cast<float>(steps)));
        if (t.lane() == 0) t.shared().steps = steps;
    }
    __syncthreads();
}

// The first motions of a team.
template <typename T>
M2T_DEVICE void begin_slots(const Team<T>& t) {
    if (t.thread() == 0) t.shared().turn = 1;
    if (t.rank() != 0 || t.thread() >= t.d.slots) return;
    const int slot = t.first_slot() + t.thread(), motion = t.thread() * t.d.teams + t.number();
    const Chooser<T> chooser = {t, slot, 0, 0, 0, static_cast<std::int64_t>(slot) * t.d.o.beams};
    chooser.begin(motion < t.d.n.batch ? motion : -1);
    t.d.s.finished[slot] = -1;
}

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kDecodeThreads, 2) decode_kernel(M2T_PARAMETER Decode<T> d) {
    if (d.sample.words != nullptr) {
        count_steps(team_of(d));
        if (team_of(d).shared().steps == 0) return;
    }
    begin_slots(team_of(d));
    team_of(d).wait();
    for (;;) {
        list_rows(team_of(d));
        write_attention(team_of(d));
        if (team_of(d).count() == 0) break;
        for (int layer = kBottom; layer < (team_of(d).predicts() ? kLayers : kQuery); ++layer) {
            if (layer == kLanguage) {
                score_rows(team_of(d));
                open_gates(team_of(d));
            } else if (layer == kContext) {
                mix_rows(team_of(d));
                team_of(d).wait();
            }
            run_layer(team_of(d), layer);
            // The queries need nothing of the top LSTM.
            if (layer != kTop || !team_of(d).predicts()) team_of(d).wait();
        }
        choose(team_of(d));
        team_of(d).wait();
    }
}

Shape shape_of(int teams, int cluster, int rows) {
    const std::size_t bytes = sizeof(DecodeShared) + sizeof(int) * kRowLists * static_cast<std::size_t>(rows);
    return {static_cast<unsigned>(teams) * static_cast<unsigned>(cluster),
            1,
            1,
            kDecodeThreads,
            bytes,
            static_cast<unsigned>(cluster)};
}

template <typename T>
std::int64_t bytes_of(const DecodeSizes& n, int beams, int width, std::int64_t slots, bool sampling) {
    Arena arena(nullptr);
    DecodeScratch<T> scratch;
    take_scratch(scratch, n, beams, width, slots, sampling, arena);
    return arena.used();
}

bool is_aligned(const void* p, std::size_t bytes) { return reinterpret_cast<std::uintptr_t>(p) % bytes == 0; }

template <typename T>
void run(Decode<T>& d, const DecodePlan& plan, void* scratch, const Place& place) {
    if (d.n.batch == 0) return;
    Arena arena(scratch);
    PackPieces<T> pack;
    take_layers(d, pack, arena);
    take_scratch(d.s, d.n, d.o.beams, d.o.max_length, std::int64_t{plan.teams} * plan.slots, d.sample.words != nullptr,
                 arena);
    d.teams = plan.teams;
    d.slots = plan.slots;
    d.rows = plan.teams * plan.slots * d.o.beams;
    const auto aligned = [&](const T* p) { return is_aligned(p, 4 * sizeof(T)); };
    d.aligned_keys = d.n.attention_dim % 4 == 0 && aligned(d.memory.temporal_keys) && aligned(d.memory.spatial_keys) &&
                     aligned(d.w.temporal_weight) && aligned(d.w.spatial_weight);
    d.aligned_parts = d.n.part_dim % 4 == 0 && aligned(d.memory.parts);
    d.aligned_inputs = d.n.word % 4 == 0 && d.n.hidden % 4 == 0 && d.n.part_dim % 4 == 0 &&
                       d.n.attention_dim % 4 == 0 && d.n.mixture % 4 == 0 && aligned(d.w.embedding) &&
                       aligned(d.sample.input_dropout) && aligned(d.sample.mixed_dropout);
    pack.counter = d.s.next_motion;
    pack.count = plan.teams * plan.slots;
    std::int64_t tiles = 1;
    for (const PackPiece<T>& piece : pack.piece) tiles = std::max(tiles, pack_tiles(piece.all_rows, piece.all_terms));
    const Shape packing = {static_cast<unsigned>(std::min<std::int64_t>(tiles, 512)), kPieces, 1, kPackThreads,
                           sizeof(float) * kPackTile * (kPackTile + 1)};
    launch(decode_pack_kernel<T>, packing, place, pack);
    launch(decode_kernel<T>, shape_of(plan.teams, plan.cluster, plan.slots * d.o.beams), place, d);
}

}  // namespace

template <typename T>
DecodePlan plan_decode(const DecodeSizes& n, int beams, int max_length, bool sampling, int device) {
    const int most_slots = std::max(1, std::min(kMostSlots, kRows / beams));
    const DeviceLimits limits = limits_of(device);
    const std::int64_t per_team = std::max<std::int64_t>(1, bytes_of<T>(n, beams, max_length, most_slots, sampling));
    const int affordable = static_cast<int>(std::clamp<std::int64_t>(kScratchBytes / per_team, 1, 1 << 20));
    // As few teams as have a full set of rows each, then as many blocks to a team as find room.
    const int batch = std::max(1, n.batch), full = (batch + most_slots - 1) / most_slots;
    const int needed = std::min(full, affordable);
    int cluster = limits.capability >= 90 ? 16 : 1, room = 0;
    for (;; cluster /= 2) {
        room = resident_clusters(decode_kernel<T>, shape_of(1, cluster, most_slots * beams), device);
        if (cluster == 1 || room >= needed) break;
    }
    const int spread = std::max(needed, limits.multiprocessors / cluster);
    const int teams = std::max(1, std::min({batch, room, affordable, spread}));
    const int slots = std::min(most_slots, (batch + teams - 1) / teams);
    Decode<T> d = {};
    d.n = n;
    PackPieces<T> pack = {};
    Arena arena(nullptr);
    take_layers(d, pack, arena);
    return {teams, cluster, slots,
            arena.used() + bytes_of<T>(n, beams, max_length, std::int64_t{teams} * slots, sampling)};
}

template <typename T>
void search(const DecodeSizes& sizes, const DecodeMemory<T>& memory, const DecoderWeights<T>& weights,
            const DecodeOptions& options, const SearchOutputs<T>& outputs, const DecodePlan& plan,
            const ScratchMemory& scratch, const Place& place) {
    Decode<T> d = {};
    d.n = sizes, d.memory = memory, d.w = weights, d.o = options, d.out = outputs;
    run(d, plan, scratch.data, place);
}

template <typename T>
void sample_words(const DecodeSizes& sizes, const DecodeMemory<T>& memory, const DecoderWeights<T>& weights,
                  const DecodeOptions& options, const SampleInputs<T>& inputs, const DecodePlan& plan,
                  const ScratchMemory& scratch, const Place& place) {
    if (options.max_length == 0) return;
    Decode<T> d = {};
    d.n = sizes, d.memory = memory, d.w = weights, d.o = options, d.sample = inputs;
    run(d, plan, scratch.data, place);
}

#define M2T_DECODE(T)                                                                                                 \
    template DecodePlan plan_decode<T>(const DecodeSizes&, int, int, bool, int);                                      \
    template void search(const DecodeSizes&, const DecodeMemory<T>&, const DecoderWeights<T>&, const DecodeOptions&,  \
                         const SearchOutputs<T>&, const DecodePlan&, const ScratchMemory&, const Place&);             \
    template void sample_words(const DecodeSizes&, const DecodeMemory<T>&, const DecoderWeights<T>&,                  \
                               const DecodeOptions&, const SampleInputs<T>&, const DecodePlan&, const ScratchMemory&, \
                               const Place&);
M2T_DECODE(float)
M2T_DECODE(bfloat16)

}  // namespace m2t::cuda
