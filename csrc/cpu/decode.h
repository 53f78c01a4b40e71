// Decoding on the processor: words follow one another without a return to Python.
//
// The motions are split in groups, and a thread decodes a group from its first word to its last. Rows are words of the
// moment: one for every growing hypothesis of every motion of the group, those of one motion beside one another.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/bfloat16.h"
#include "common/isa.h"
#include "common/record.h"
#include "common/workspace.h"
#include "cpu/gate.h"
#include "cpu/linear.h"

namespace m2t {

// Letters as in the glossary; mixture is the width of the hidden layer of eq. 10.
struct DecodeSizes {
    M2T_FIELDS(
        std::int64_t batch, frames, parts, slots, part_dim, attention_dim, hidden, word, mixture, vocabulary;
    )
    // Rows of the spatial weight, R, each of which scores every key; slots * R == parts.
    std::int64_t rows() const { return slots == parts ? 1 : parts; }
    // Elements between rows of keys and queries in workspace: whole cache lines, the excess holds nothing that counts.
    std::int64_t step(std::size_t element) const {
        const auto line = static_cast<std::int64_t>(64 / element);
        return (attention_dim + line - 1) / line * line;
    }
};

template <typename T>
struct DecodeMemory {
    M2T_FIELDS(
        const T *parts, *temporal_keys, *spatial_keys;  // (B, T, P, H), (B, T, S, D) twice
        const std::int64_t* lengths;                    // (B); outside 0..T they are taken as the nearest bound
    )
};

// A linear layer y = weight x + bias with a weight (columns, terms), stored as T.
template <typename T>
struct Layer {
    const T* weight;
    const WideOf<T>* bias;
    std::int64_t columns, terms;
    const T* packed;  // the weight as `pack` leaves it
};

// The weights, each LSTM's in one matrix and its biases summed, both queries' one below the other. What layers multiply
// with is stored as T, as parts and keys are.
template <typename T>
struct DecodeWeights {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        const Wide* embedding;                                       // (V, E)
        const T *bottom, *top;                                       // (4C, E+C), (4C, 2C): gates i, f, g, o
        const T* query;                                              // (2D, C): temporal, then spatial
        const Wide *bottom_bias, *top_bias, *query_bias;             // of these
        const Wide *temporal_weight, *spatial_weight, *spatial_bias; // (D), (R, D), (R)
        const Wide *gate_hidden, *gate_word, *gate_bias;             // (C), (E), (1)
        const T *context, *language, *mixture, *output;              // (D, H), (D, C), (M, E+D+C), (V, M)
        const Wide *context_bias, *language_bias, *mixture_bias, *output_bias;
    )
};

// Constants of a model.
struct DecodeNumbers {
    M2T_FIELDS(
        double scale, sigma_min;  // rho of eq. 8; lower clamp of sigma, in frames
        double force_gate;        // replaces the gate, or NaN
    )
};

template <typename T>
struct DecodeModel {
    using Wide = WideOf<T>;
    DecodeSizes n;
    DecodeMemory<T> memory;
    const Wide* embedding;                                          // (V, E)
    Layer<T> bottom, top;                                           // (4C, E+C), (4C, 2C): gates i, f, g, o
    Layer<T> query;                                                 // (2D, C): temporal, then spatial
    const Wide *temporal_weight, *spatial_weight, *spatial_bias;    // (D), (R, D), (R)
    const Wide *gate_hidden_weight, *gate_word_weight, *gate_bias;  // (C), (E), (1)
    Layer<T> context, language, mixture, output;                    // (D, H), (D, C), (M, E+D+C), (V, M)
    double scale, sigma_min;                                        // rho of eq. 8; lower clamp of sigma, in frames
    double force_gate;                                              // replaces the gate, or NaN
};

// The keys of a motion as the scores read them, rows `step` apart; see decode_attention.h.
template <typename T>
struct PreparedKeys {
    const T* parts;
    T *temporal, *spatial;  // (frames * S, step)
    std::int64_t frames;
    bool exponential;
};

// What the attention of one row gives, one behind the other in the order of the rows.
template <typename T>
struct RowAttention {
    T *window, *alpha, *mean, *std, *gate;  // (N, T), (N, T, P), (N), (N), (N)
};

// What a row carries from word to word.
template <typename T>
struct RowState {
    std::int64_t *word, *motion;        // (N): the word that it reads, and its motion's number in the group
    T *hidden, *cell, *top, *top_cell;  // (N, C): both LSTMs
};

// Columns of a packed weight in bfloat16 that are computed together: four vectors of AVX-512.
constexpr std::int64_t kLayerWidth = 64;

// Workspace of the thread that decodes a group; N rows at most, `count` at present.
template <typename S>
struct DecodeRows {
    using T = WideOf<S>;
    std::int64_t count = 0;
    RowState<T> state, next;      // `next` is free for the rows of the next word
    PreparedKeys<S>* keys;        // one for each motion of the group
    S* key_memory;                // (motions, 2, T * S, step)
    T *embedded, *input, *mixed;  // (N, E): the word's embedding; the same as the LSTM and as the mixture read it
    T *joined, *sums;             // (N, E+C or 2C), (N, 4C)
    T *query, *context, *context_product, *language_product;  // (N, 2D), (N, H), (N, D), (N, D)
    T *mixture_input, *features, *logits, *gate_logit;        // (N, E+D+C), (N, M), (N, V), (N)
    T *temporal_weight, *spatial_weight;                      // (step), (R, step)
    double* weight_sums;                                      // (1 + R)
    T *temporal_query, *spatial_query;                        // (words of a motion, step)
    double* z;                                                // (words of a motion, T * S)
    T *gamma, *weights;                                       // (T * S), (words of a motion, T * P)
    S* layer_input;                                           // a layer's rows as S, where that is another type
    T* layer_sums;                                            // (kLinearRows, kLayerWidth), likewise
    RowAttention<T> attention = {};                           // where `predict` writes; the caller's

    // For `rows` rows, at most `words` of one motion, of `motions` motions; from a null layout it only measures.
    DecodeRows(const DecodeSizes& n, std::int64_t rows, std::int64_t words, std::int64_t motions, Layout& layout)
        : input(nullptr), mixed(nullptr) {
        const std::int64_t step = n.step(sizeof(S)), slots = n.frames * n.slots;
        for (RowState<T>* s : {&state, &next}) {
            layout.take(s->word, rows);
            layout.take(s->motion, rows);
            for (T** x : {&s->hidden, &s->cell, &s->top, &s->top_cell}) layout.take(*x, rows * n.hidden);
        }
        layout.take(keys, motions);
        layout.take(key_memory, motions * 2 * slots * step);
        layout.take(embedded, rows * n.word);
        layout.take(joined, rows * (std::max(n.word, n.hidden) + n.hidden));
        layout.take(sums, rows * 4 * n.hidden);
        layout.take(query, rows * 2 * n.attention_dim);
        layout.take(context, rows * n.part_dim);
        layout.take(context_product, rows * n.attention_dim);
        layout.take(language_product, rows * n.attention_dim);
        layout.take(mixture_input, rows * (n.word + n.attention_dim + n.hidden));
        layout.take(features, rows * n.mixture);
        layout.take(logits, rows * n.vocabulary);
        layout.take(gate_logit, rows);
        layout.take(temporal_weight, step);
        layout.take(spatial_weight, n.rows() * step);
        layout.take(weight_sums, 1 + n.rows());
        layout.take(temporal_query, words * step);
        layout.take(spatial_query, words * step);
        layout.take(z, words * slots);
        layout.take(gamma, slots);
        layout.take(weights, words * n.frames * n.parts);
        const std::int64_t terms = std::max({2 * n.hidden, n.part_dim, n.word + n.attention_dim + n.hidden, n.mixture});
        layout.take(layer_input, std::is_same_v<S, T> ? 0 : rows * terms);
        layout.take(layer_sums, std::is_same_v<S, T> ? 0 : kLinearRows * kLayerWidth);
    }
};

template <typename T>
struct DecodeKernels {
    // Elements of a packed weight, and the number of panels that `pack` does one by one.
    std::int64_t (*packed_size)(std::int64_t columns, std::int64_t terms);
    std::int64_t (*panels)(std::int64_t columns);
    void (*pack)(const T* weight, std::int64_t columns, std::int64_t terms, std::int64_t panel, T* packed);
    // Fills the attention weights of `rows`, and the keys of motion b of the batch as number i of the group.
    void (*prepare_weights)(const DecodeModel<T>& model, DecodeRows<T>& rows);
    void (*prepare_motion)(const DecodeModel<T>& model, DecodeRows<T>& rows, std::int64_t b, std::int64_t i);
    // From embedded, input and state to the state after the word.
    void (*advance)(const DecodeModel<T>& model, DecodeRows<T>& rows);
    // From the state to attention and logits (bias included).
    void (*predict)(const DecodeModel<T>& model, DecodeRows<T>& rows);
    // log(sum(exp(x))) of n numbers, and the largest of every kScanned of them.
    double (*log_sum_exp)(const WideOf<T>* x, std::int64_t n, WideOf<T>* largest);
};

// Logits that share one entry of the maxima that log_sum_exp leaves.
constexpr std::int64_t kScanned = 128;

M2T_DECLARE_KERNELS(DecodeKernels, decode_kernels)

// The kernels for processors that multiply bfloat16: has_bfloat16_products of linear.h.
DecodeKernels<BFloat16> bfloat16_decode_kernels();

struct SearchOptions {
    M2T_FIELDS(
        std::int64_t beams, max_length;
        double length_penalty;
        std::int64_t pad, start, end;  // the words that stand for no word, before the first and after the last
    )
};

// tokens (B, K, W) and scores (B, K) best first; attention of the best caption: (B, W, T), (B, W, T, P) and (B, W)
// thrice, 0 beyond its end. W is max_length.
template <typename T>
struct SearchOutputs {
    M2T_FIELDS(
        std::int64_t* tokens;
        T* scores;
        T *window, *spatial, *mean, *std, *gate;
    )
};

template <typename T>
void search(const DecodeModel<T>& model, const SearchOptions& options, const SearchOutputs<T>& out, int threads,
            InstructionSet isa);

// Fills words (B, L), whose first column and the columns of a true coin hold the words to read, with the argmax of the
// word before wherever the coin is false. Dropout factors (B, L, E) or null.
template <typename T>
struct SampleInputs {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        std::int64_t* words;
        const bool* coins;  // (L)
        std::int64_t length;
        const Wide *input_dropout, *mixed_dropout;
    )
};

template <typename T>
void sample_words(const DecodeModel<T>& model, const SampleInputs<T>& in, int threads, InstructionSet isa);

}  // namespace m2t
