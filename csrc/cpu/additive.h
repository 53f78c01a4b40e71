// Additive attention by itself on the processor: weights of the keys, and the gradient of their scores.
#pragma once

#include <cstdint>

#include "common/isa.h"
#include "common/record.h"

namespace m2t {

// Letters as in the glossary. Every tensor is contiguous, batch first, in the order of its indices here: query
// [b][l][d], keys [b][t][d], weight [d], weights and d_scores [b][l][t].
struct AdditiveSizes {
    M2T_FIELDS(std::int64_t batch, frames, words, dim;)
};

template <typename T>
struct AdditiveInputs {
    M2T_FIELDS(
        const T *query, *keys, *weight;
        const std::int64_t* lengths;  // outside 0..T they are taken as the nearest bound
    )
};

template <typename T>
struct AdditiveGrads {
    M2T_FIELDS(T *query, *keys, *weight;)
};

template <typename T>
struct AdditiveWeights {
    M2T_FIELDS(T* weights;)
};

template <typename T>
struct AdditiveScoreGrads {
    M2T_FIELDS(const T* scores;)
};

// Fills weights: softmax over the valid keys of weight . tanh(key + query), 0 in the padding, which is not read.
template <typename T>
void additive_weights(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, const AdditiveWeights<T>& out,
                      int threads, InstructionSet isa);

// Fills every gradient from that of the scores, making tanh again, in an order of sums that the sizes alone set.
template <typename T>
void additive_gradient(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, const AdditiveScoreGrads<T>& grads,
                       const AdditiveGrads<T>& out, int threads, InstructionSet isa);

// One instruction set's copy of the work on one sequence. `workspace` is private to the calling thread.
template <typename T>
struct AdditiveKernels {
    std::size_t (*workspace)(const AdditiveSizes& sizes, std::int64_t words, bool gradient);
    // Words [first, last) of sequence b.
    void (*weights)(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, T* weights, std::int64_t b,
                    std::int64_t first, std::int64_t last, unsigned char* workspace);
    // All words of sequence b; out.weight is (B, D), a row for each sequence.
    void (*gradient)(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, const T* d_scores,
                     const AdditiveGrads<T>& out, std::int64_t b, unsigned char* workspace);
};

M2T_DECLARE_KERNELS(AdditiveKernels, additive_kernels)

}  // namespace m2t
