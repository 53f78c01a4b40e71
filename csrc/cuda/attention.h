// Spatio-temporal Gaussian attention (eq. 2-6 and 8) and its gradient on a CUDA device, one function a kernel.
//
// Letters as in the glossary. Every tensor is contiguous, batch first, in the order of its indices here: parts
// [b][t][p][h], keys [b][t][s][d], queries [b][l][d], weights [r][d], window [b][l][t], spatial [b][l][t][p]. Either S
// or R is 1. Scores are float32 whatever T is, [b][l][t][s * r]. Lengths outside 0..frames are taken as the nearest
// bound; nothing behind a motion's length is read, and of workspaces nothing there is written.
#pragma once

#include <cstdint>

#include "common/record.h"
#include "cuda/place.h"

namespace m2t::cuda {

struct AttentionSizes {
    M2T_FIELDS(
        std::int64_t batch, frames, words, parts, slots, part_dim, attention_dim;
    )
};

// What the softmax over the frames of one word left: eq. 3 and 4. Its mean is anchor + delta, the anchor a whole
// number: so float32 holds a narrow attention's mean to the last bit, however far into the motion. Frames outside
// begin..end have a window that does not count.
struct WordStats {
    M2T_FIELDS(
        float top, total, anchor, delta, variance, sigma;
        std::int32_t begin, end;
    )
};

// scores = weight . tanh(key + query), `rows` of them a key (eq. 2 and 5). With `rest` (one row) they are sums without
// rounding, and rest is what is to be added to them. With `stats` tiles of frames outside every word's begin..end are
// left out. With `half` the float32 numbers are those of float16 tensors: sums of several rows go to the matrix units.
template <typename T>
struct ScoreParameters {
    M2T_FIELDS(
        AttentionSizes sizes;
        std::int64_t rows;
        bool half;
        const T *keys, *query, *weight;
        const std::int64_t* lengths;
        const WordStats* stats;
        float *scores, *rest;
    )
};

template <typename T>
void attention_scores(const ScoreParameters<T>& in, const Place& place);

// Eq. 3 and 4 for every word: stats, and mean and std (B, L) unless null. begin..end are the frames within `reach`
// sigma of the mean, all frames with reach 0.
template <typename T>
struct MomentParameters {
    M2T_FIELDS(
        AttentionSizes sizes;
        const float *temporal, *rest;  // rest may be null
        const std::int64_t* lengths;
        float smallest_variance, reach;
        WordStats* stats;
        T *mean, *std;
    )
};

template <typename T>
void attention_moments(const MomentParameters<T>& in, const Place& place);

// Eq. 4 and 6: `spatial`, scores on entry, becomes scale * window * alpha, 0 for frames outside a word's begin..end.
// out_window and out_spatial are both given or both null, and 0 behind a motion's length.
template <typename T>
struct WindowParameters {
    M2T_FIELDS(
        AttentionSizes sizes;
        const WordStats* stats;
        const T* bias;
        const std::int64_t* lengths;
        float scale;
        float* spatial;
        T *out_window, *out_spatial;
    )
};

template <typename T>
void attention_window(const WindowParameters<T>& in, const Place& place);

// Eq. 8: context (B, L, H), the sum of the parts with the weights that attention_window made.
template <typename T>
struct ContextParameters {
    M2T_FIELDS(
        AttentionSizes sizes;
        const T* parts;
        const float* weights;
        const WordStats* stats;
        T* context;
    )
};

template <typename T>
void attention_context(const ContextParameters<T>& in, const Place& place);

// Eq. 13 from the spatial scores, before attention_window: for every word the sum of the binary cross entropies over
// its frames and supervised parts. A logarithm counts from `least_log` on.
template <typename T>
struct LossParameters {
    M2T_FIELDS(
        AttentionSizes sizes;
        const float* spatial;
        const T* bias;
        const std::int64_t* lengths;
        const float* target;  // (B, L, P): 1, 0 or -1 (not supervised)
        float least_log;
        float* loss;  // (B, L)
    )
};

template <typename T>
void attention_loss(const LossParameters<T>& in, const Place& place);

// From both scores and the outputs' gradients (null: not used) to the scores' gradients, in place. d_weights
// (B, L, T, P) is the gradient of scale * window * alpha, which goes to `weights`, 0 behind a motion's length; both are
// null where the context was not used. d_bias (B * L, P), a share for each word, is written where R > 1.
template <typename T>
struct WordGradientParameters {
    M2T_FIELDS(
        AttentionSizes sizes;
        const WordStats* stats;
        const T* bias;
        const std::int64_t* lengths;
        float scale, smallest_variance;
        const T *d_weights, *d_window, *d_spatial, *d_mean, *d_std;
        const float *target, *d_loss;  // of attention_loss, or null
        float least_log;
        const float* rest;  // may be null
        float *temporal, *spatial;
        T* weights;
        float* d_bias;
    )
};

template <typename T>
void attention_word_gradient(const WordGradientParameters<T>& in, const Place& place);

// From d_scores, with `rows` a key, to d_keys (0 behind a motion's length), and to the shares of each tile of
// keys_per_tile keys of a motion: d_query (B, tiles, L, D) and d_weight (B, tiles, R, D).
template <typename T>
struct ScoreGradientParameters {
    M2T_FIELDS(
        AttentionSizes sizes;
        std::int64_t rows, keys_per_tile;
        const T *keys, *query, *weight;
        const std::int64_t* lengths;
        const float* d_scores;
        T* d_keys;
        float *d_query, *d_weight;
    )
};

template <typename T>
void attention_score_gradient(const ScoreGradientParameters<T>& in, const Place& place);

}  // namespace m2t::cuda
