// Spatio-temporal Gaussian attention (eq. 2-6 and 8) and its gradient on the processor.
#pragma once

#include <cstdint>

#include "common/bfloat16.h"
#include "common/isa.h"
#include "common/record.h"

namespace m2t {

// T is what the large tensors are stored in: float, double or bfloat16, which is computed with as float. Wide is what
// all others have.
//
// Letters as in the glossary. Every tensor is contiguous, batch first, in the order of its indices here:
// parts [b][t][p][h], keys [b][t][s][d], queries [b][l][d], window [b][l][t], spatial [b][l][t][p].
struct AttentionSizes {
    M2T_FIELDS(
        std::int64_t batch, frames, words, parts, slots, part_dim, attention_dim;
    )
    // Rows of the spatial weight, R: every key slot is scored by R weight rows, and slots * R == parts.
    std::int64_t rows() const { return slots == parts ? 1 : parts; }
};

template <typename T>
struct AttentionInputs {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        const T *parts, *temporal_keys, *spatial_keys;
        const Wide *temporal_query, *spatial_query;
        const Wide *temporal_weight, *spatial_weight, *spatial_bias;
        const std::int64_t* lengths;  // outside 0..T they are taken as the nearest bound
        double scale;
        double sigma_min;  // lower clamp of the window's standard deviation, in frames
    )
};

template <typename T>
struct AttentionOutputs {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        Wide *context, *window, *spatial, *mean, *std;
        Wide* gamma;  // (B, L, T, S): what the gradient need not compute again; null where there will be none
    )
};

// Results of the forward pass that the gradient may use; null to compute them again.
template <typename T>
struct AttentionKept {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        const Wide *spatial, *gamma;
    )
};

// Gradients of the outputs; null for an output that nobody used.
template <typename T>
struct AttentionOutputGrads {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        const Wide *context, *window, *spatial, *mean, *std;
    )
};

template <typename T>
struct AttentionInputGrads {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        T *parts, *temporal_keys, *spatial_keys;
        Wide *temporal_query, *spatial_query;
        Wide *temporal_weight, *spatial_weight, *spatial_bias;
    )
};

// Fills every output. No frame beyond a motion's length is read. Words and motions are independent of each other, so
// the result does not depend on `threads`.
template <typename T>
void attention_forward(const AttentionSizes& sizes, const AttentionInputs<T>& in, const AttentionOutputs<T>& out,
                       int threads, InstructionSet isa);

// Fills every gradient, recomputing tanh, and the scores too where nothing was kept. Sums over words, frames and
// motions are taken in an order that depends on the sizes alone, so the result does not depend on `threads`.
template <typename T>
void attention_backward(const AttentionSizes& sizes, const AttentionInputs<T>& in, const AttentionKept<T>& kept,
                        const AttentionOutputGrads<T>& grads, const AttentionInputGrads<T>& out, int threads,
                        InstructionSet isa);

// One instruction set's copy of the work on one motion. `workspace` is private to the calling thread.
template <typename T>
struct AttentionKernels {
    // Bytes of workspace that `forward` needs for that many words, or `backward` for all.
    std::size_t (*workspace)(const AttentionSizes& sizes, std::int64_t words, bool gradient);
    // Words [first, last) of motion b.
    void (*forward)(const AttentionSizes& sizes, const AttentionInputs<T>& in, const AttentionOutputs<T>& out,
                    std::int64_t b, std::int64_t first, std::int64_t last, unsigned char* workspace);
    // All words of motion b. The three gradients that are summed over motions are left as one row for each motion:
    // the tensors in `out` have shapes (B, D), (B, R, D) and (B, R) here.
    void (*backward)(const AttentionSizes& sizes, const AttentionInputs<T>& in, const AttentionKept<T>& kept,
                     const AttentionOutputGrads<T>& grads, const AttentionInputGrads<T>& out, std::int64_t b,
                     unsigned char* workspace);
};

M2T_DECLARE_KERNELS(AttentionKernels, attention_kernels)

}  // namespace m2t
