// Greedy search, beam search and scheduled sampling on a CUDA device: whole captions in one launch.
//
// A team, which is a block or a cluster of blocks, owns a few motions at a time: its slots. Every growing hypothesis of
// a motion is a row. A word passes through seven layers, whose columns the blocks of a team share; between them, what
// the rows hold lies in global scratch. A motion that is decided makes room for the next one that nobody has begun.
#pragma once

#include <cstdint>

#include "common/record.h"
#include "cuda/place.h"

namespace m2t::cuda {

// Letters as in the glossary; mixture is the width of the hidden layer of eq. 10.
struct DecodeSizes {
    M2T_FIELDS(
        int batch, frames, parts, slots, part_dim, attention_dim, hidden, word, mixture, vocabulary;
    )
};

// The motions: (B, T, P, H), (B, T, S, D) twice, (B); lengths outside 0..T are taken as the nearest bound.
template <typename T>
struct DecodeMemory {
    M2T_FIELDS(
        const T *parts, *temporal_keys, *spatial_keys;
        const std::int64_t* lengths;
    )
};

// In the order and with the shapes of m2t_fast.ops.decode.DecoderWeights.
template <typename T>
struct DecoderWeights {
    M2T_FIELDS(
        const T* embedding;
        const T *bottom_input, *bottom_hidden, *bottom_input_bias, *bottom_hidden_bias;
        const T *top_input, *top_hidden, *top_input_bias, *top_hidden_bias;
        const T *temporal_query, *temporal_query_bias, *spatial_query, *spatial_query_bias;
        const T *temporal_weight, *spatial_weight, *spatial_bias;
        const T *gate_hidden, *gate_word, *gate_bias;
        const T *context, *context_bias, *language, *language_bias, *mixture, *mixture_bias, *output, *output_bias;
    )
};

struct DecodeOptions {
    M2T_FIELDS(
        int beams, max_length;
        int pad, start, end;  // the words that stand for no word, before the first and after the last
        float length_penalty, scale, sigma_min;
        float force_gate;  // replaces the gate, or NaN
    )
};

// tokens (B, K, W), scores (B, K), and of the best caption window (B, W, T), spatial (B, W, T, P), mean, std, gate
// (B, W).
template <typename T>
struct SearchOutputs {
    M2T_FIELDS(
        std::int64_t* tokens;
        float* scores;
        T *window, *spatial, *mean, *std, *gate;
    )
};

// words (B, L) are read and written, coins (L); dropout factors (B, L, E) or null.
template <typename T>
struct SampleInputs {
    M2T_FIELDS(
        std::int64_t* words;
        const bool* coins;
        const T *input_dropout, *mixed_dropout;
    )
};

// How many teams of how many blocks, how many motions a team has at a time, and the bytes of scratch that it takes.
struct DecodePlan {
    M2T_FIELDS(
        int teams, cluster, slots;
        std::int64_t bytes;
    )
};

// DecodePlan::bytes of memory.
struct ScratchMemory {
    M2T_FIELDS(void* data;)
};

// `max_length` and `beams` are 1 for sampling, which records nothing.
template <typename T>
DecodePlan plan_decode(const DecodeSizes& sizes, int beams, int max_length, bool sampling, int device);

template <typename T>
void search(const DecodeSizes& sizes, const DecodeMemory<T>& memory, const DecoderWeights<T>& weights,
            const DecodeOptions& options, const SearchOutputs<T>& outputs, const DecodePlan& plan,
            const ScratchMemory& scratch, const Place& place);

// `options.max_length` is L.
template <typename T>
void sample_words(const DecodeSizes& sizes, const DecodeMemory<T>& memory, const DecoderWeights<T>& weights,
                  const DecodeOptions& options, const SampleInputs<T>& inputs, const DecodePlan& plan,
                  const ScratchMemory& scratch, const Place& place);

}  // namespace m2t::cuda
