// Attention of one motion, forward and backward. Included once for each instruction set: see isa.h.
#pragma once

#include "cpu/attention.h"
#include "cpu/attention_scores.h"
#include "cpu/attention_words.h"
#include "cpu/small_product.h"

namespace m2t {
namespace M2T_ISA {

// Rows of parts whose gradients are summed before they are stored as bfloat16.
constexpr std::int64_t kPartRows = 48;

// Everything that is kept of one motion and `count` of its words while a thread works on them, and nothing larger.
template <typename S>
struct AttentionWorkspace {
    using T = WideOf<S>;
    std::int64_t count, step, frame_stride, slot_stride, part_stride;  // rows are this many elements apart
    T *temporal_query, *spatial_query;                                 // (count, padded D), made ready
    T *temporal_weight, *spatial_weight;                               // (padded D), (R, padded D)
    T* values;                                                         // (kWords + 1, padded D)
    double* z;                                                         // (count, T*S)
    T *gamma, *window, *alpha, *weights;                               // (count, T*S), (count, T), (count, T*P) twice
    double *mean, *variance;                                           // (count)
    // Gradient only: the words that have one, the gradient of their context (count, padded H), sums of score_gradients.
    std::int64_t* active = nullptr;
    T* d_context = nullptr;
    T* d_parts = nullptr;  // (kPartRows, H), where they are stored as something else
    ScoreSums<T> sums = {};
    std::size_t bytes;

    // Lays the arrays out from `base`; with null it only measures.
    AttentionWorkspace(const AttentionSizes& n, std::int64_t words, bool gradient, unsigned char* base)
        : count(words),
          step(padded<T>(n.attention_dim)),
          frame_stride(n.frames),
          slot_stride(n.frames * n.slots),
          part_stride(n.frames * n.parts) {
        Layout layout(base);
        layout.take(temporal_query, count * step);
        layout.take(spatial_query, count * step);
        layout.take(temporal_weight, step);
        layout.take(spatial_weight, n.rows() * step);
        layout.take(values, (kWords + 1) * step);
        layout.take(z, count * slot_stride);
        layout.take(gamma, count * slot_stride);
        layout.take(window, count * frame_stride);
        layout.take(alpha, count * part_stride);
        layout.take(weights, count * part_stride);
        layout.take(mean, count);
        layout.take(variance, count);
        if (gradient) {
            layout.take(active, count);
            layout.take(d_context, count * padded<T>(n.part_dim));
            layout.take(d_parts, std::is_same_v<S, T> ? 0 : kPartRows * n.part_dim);
            layout.take(sums.total, (count + n.rows()) * step);
            layout.take(sums.tile, (count + n.rows()) * step);
            layout.take(sums.values, 2 * count * lanes<T>());
        }
        bytes = layout.bytes();
    }
};

// Copies a row of `size` elements and fills up to the next whole vector with zeros.
template <typename T>
void copy_padded(const T* from, std::int64_t size, T* to) {
    std::copy(from, from + size, to);
    std::fill(to + size, to + padded<T>(size), T(0));
}

// The words and keys of one motion; `frames` of them are valid.
template <typename S>
struct Motion {
    using T = WideOf<S>;
    std::int64_t b, frames;
    const S* parts;
    Scoring<T, S> temporal, spatial;
    bool small;  // ByProduct will do; a property of the whole motion, however its words are split

    Motion(const AttentionSizes& n, const AttentionInputs<S>& in, std::int64_t motion, const AttentionWorkspace<S>& w)
        : b(motion), frames(std::clamp<std::int64_t>(in.lengths[motion], 0, n.frames)) {
        const std::int64_t keys = b * n.frames * n.slots * n.attention_dim;
        parts = in.parts + b * n.frames * n.parts * n.part_dim;
        temporal = {in.temporal_keys + keys,
                    frames * n.slots,
                    n.attention_dim,
                    w.temporal_query,
                    w.count,
                    w.temporal_weight,
                    1};
        spatial = {in.spatial_keys + keys, frames * n.slots, n.attention_dim, w.spatial_query, w.count,
                   w.spatial_weight,       n.rows()};
        const std::int64_t queries = b * n.words * n.attention_dim;
        small = product_serves(temporal, in.temporal_weight, in.temporal_query + queries, n.words) &&
                product_serves(spatial, in.spatial_weight, in.spatial_query + queries, n.words);
    }
};

// Calls body(ByProduct()) or body(BySum()), whichever suits the motion.
template <typename S, typename Body>
void with_tanh_of(const Motion<S>& motion, const Body& body) {
    if (motion.small) {
        body(ByProductOf<S>());
    } else {
        body(BySum<WideOf<S>>());
    }
}

// Makes weights and queries ready for the words given as row numbers of (L, D).
template <typename S, typename WordAt>
void ready_words(const AttentionSizes& n, const AttentionInputs<S>& in, const Motion<S>& motion, const WordAt& word_at,
                 const AttentionWorkspace<S>& w) {
    const std::int64_t dim = n.attention_dim;
    copy_padded(in.temporal_weight, dim, w.temporal_weight);
    for (std::int64_t r = 0; r < n.rows(); ++r) {
        copy_padded(in.spatial_weight + r * dim, dim, w.spatial_weight + r * w.step);
    }
    with_tanh_of(motion, [&](auto how) {
        for (std::int64_t j = 0; j < w.count; ++j) {
            const std::int64_t row = (motion.b * n.words + word_at(j)) * dim;
            make_ready<decltype(how)>(in.temporal_query + row, dim, w.temporal_query + j * w.step);
            make_ready<decltype(how)>(in.spatial_query + row, dim, w.spatial_query + j * w.step);
        }
    });
}

// Fills gamma, mean, variance and alpha of the words that are ready.
template <typename S>
void score_words(const AttentionSizes& n, const AttentionInputs<S>& in, const Motion<S>& motion,
                 const AttentionWorkspace<S>& w) {
    using T = WideOf<S>;
    with_tanh_of(motion, [&](auto how) {
        scores<decltype(how)>(motion.temporal, w.z, w.slot_stride, w.values);
        scores<decltype(how)>(motion.spatial, w.alpha, w.part_stride, w.values);
    });
    for (std::int64_t j = 0; j < w.count; ++j) {
        T* gamma = w.gamma + j * w.slot_stride;
        softmax(w.z + j * w.slot_stride, motion.frames * n.slots, gamma);
        moments(gamma, motion.frames, n.slots, w.mean[j], w.variance[j]);
        // One row of weights scores every part: its bias is the same for all of them and cancels.
        softmax_over_parts(w.alpha + j * w.part_stride, motion.frames, n.parts,
                           n.rows() == 1 ? nullptr : in.spatial_bias);
    }
}

// The same from what the forward pass kept.
template <typename S, typename WordAt>
void recall_words(const AttentionSizes& n, const AttentionKept<S>& kept, const Motion<S>& motion, const WordAt& word_at,
                  const AttentionWorkspace<S>& w) {
    using T = WideOf<S>;
    for (std::int64_t j = 0; j < w.count; ++j) {
        const std::int64_t row = motion.b * n.words + word_at(j);
        T* gamma = w.gamma + j * w.slot_stride;
        std::copy_n(kept.gamma + row * w.slot_stride, motion.frames * n.slots, gamma);
        moments(gamma, motion.frames, n.slots, w.mean[j], w.variance[j]);
        std::copy_n(kept.spatial + row * w.part_stride, motion.frames * n.parts, w.alpha + j * w.part_stride);
    }
}

// Fills window and weights (eq. 4 and 8) from the others.
template <typename S>
void weigh_words(const AttentionSizes& n, const AttentionInputs<S>& in, const Motion<S>& motion,
                 const AttentionWorkspace<S>& w) {
    using T = WideOf<S>;
    for (std::int64_t j = 0; j < w.count; ++j) {
        T* window = w.window + j * w.frame_stride;
        const T* alpha = w.alpha + j * w.part_stride;
        T* weights = w.weights + j * w.part_stride;
        gaussian_window(motion.frames, w.mean[j], clamped_std(w.variance[j], in.sigma_min), window);
        for (std::int64_t t = 0; t < motion.frames; ++t) {
            const T scaled = static_cast<T>(in.scale) * window[t];
            for (std::int64_t i = 0; i < n.parts; ++i) weights[t * n.parts + i] = scaled * alpha[t * n.parts + i];
        }
    }
}

// Fills gamma, mean, variance, window, alpha and weights of the words given as row numbers of (L, D).
template <typename S, typename WordAt>
void attend(const AttentionSizes& n, const AttentionInputs<S>& in, const Motion<S>& motion, const WordAt& word_at,
            const AttentionWorkspace<S>& w) {
    ready_words(n, in, motion, word_at, w);
    score_words(n, in, motion, w);
    weigh_words(n, in, motion, w);
}

// Copies `used` elements and sets the rest of a row of `size` to 0.
template <typename T>
void copy_and_clear(const T* from, std::int64_t used, std::int64_t size, T* to) {
    std::copy(from, from + used, to);
    std::fill(to + used, to + size, T(0));
}

template <typename S>
void forward(const AttentionSizes& n, const AttentionInputs<S>& in, const AttentionOutputs<S>& out, std::int64_t b,
             std::int64_t first, std::int64_t last, unsigned char* base) {
    using T = WideOf<S>;
    const AttentionWorkspace<S> w(n, last - first, false, base);
    const Motion<S> motion(n, in, b, w);
    attend(n, in, motion, [=](std::int64_t j) { return first + j; }, w);
    const std::int64_t row = b * n.words + first;
    for (std::int64_t j = 0; j < w.count; ++j) {
        out.mean[row + j] = static_cast<T>(w.mean[j]);
        out.std[row + j] = static_cast<T>(clamped_std(w.variance[j], in.sigma_min));
        copy_and_clear(w.window + j * w.frame_stride, motion.frames, n.frames, out.window + (row + j) * n.frames);
        copy_and_clear(w.alpha + j * w.part_stride, motion.frames * n.parts, n.frames * n.parts,
                       out.spatial + (row + j) * n.frames * n.parts);
        if (out.gamma != nullptr) {
            copy_and_clear(w.gamma + j * w.slot_stride, motion.frames * n.slots, n.frames * n.slots,
                           out.gamma + (row + j) * n.frames * n.slots);
        }
    }
    T* context = out.context + row * n.part_dim;
    product(w.weights, w.part_stride, std::int64_t(1), w.count, motion.parts, n.part_dim, motion.frames * n.parts,
            context, n.part_dim, n.part_dim, false);
}

template <typename T>
bool any_nonzero(const T* x, std::int64_t first, std::int64_t count) {
    return x != nullptr && !std::all_of(x + first, x + first + count, [](T value) { return value == 0; });
}

// Lists the words of motion b that have a gradient: padding after a caption's end has none, and costs nothing.
template <typename S>
std::int64_t active_words(const AttentionSizes& n, const AttentionOutputGrads<S>& grads, std::int64_t b,
                          std::int64_t frames, std::int64_t* active) {
    std::int64_t count = 0;
    for (std::int64_t l = 0; l < n.words; ++l) {
        const std::int64_t row = b * n.words + l;
        if (any_nonzero(grads.mean, row, 1) || any_nonzero(grads.std, row, 1) ||
            any_nonzero(grads.context, row * n.part_dim, n.part_dim) ||
            any_nonzero(grads.window, row * n.frames, frames) ||
            any_nonzero(grads.spatial, row * n.frames * n.parts, frames * n.parts)) {
            active[count++] = l;
        }
    }
    return count;
}

// Gradients of keys, queries and weight of one scoring, from `grad` (count, frames * slots * rows).
template <typename S>
void scoring_backward(const AttentionSizes& n, const Motion<S>& motion, const Scoring<WideOf<S>, S>& s,
                      const WideOf<S>* grad, std::int64_t grad_stride, const AttentionWorkspace<S>& w, S* d_keys,
                      WideOf<S>* d_query, WideOf<S>* d_weight) {
    using T = WideOf<S>;
    const std::int64_t dim = n.attention_dim;
    std::fill(w.sums.total, w.sums.total + (s.words + s.rows) * w.step, T(0));
    S* keys = d_keys + motion.b * n.frames * n.slots * dim;
    with_tanh_of(motion, [&](auto how) { score_gradients<decltype(how)>(s, grad, grad_stride, keys, w.sums); });
    std::fill(keys + s.count * dim, keys + n.frames * n.slots * dim, S());
    T* queries = d_query + motion.b * n.words * dim;
    std::fill(queries, queries + n.words * dim, T(0));
    for (std::int64_t j = 0; j < s.words; ++j) {
        const T* sum = w.sums.total + j * w.step;
        std::copy(sum, sum + dim, queries + w.active[j] * dim);
    }
    for (std::int64_t r = 0; r < s.rows; ++r) {
        const T* sum = w.sums.total + (s.words + r) * w.step;
        std::copy(sum, sum + dim, d_weight + (motion.b * s.rows + r) * dim);
    }
}

// Eq. 8's gradient of the parts: window, alpha and the gradient of the context, summed over the words.
template <typename S>
void part_gradients(const AttentionSizes& n, const AttentionWorkspace<S>& w, std::int64_t pairs, S* d_parts) {
    using T = WideOf<S>;
    const std::int64_t dim = n.part_dim, step = padded<T>(dim);
    if constexpr (std::is_same_v<S, T>) {
        product(w.weights, std::int64_t(1), w.part_stride, pairs, w.d_context, step, w.count, d_parts, dim, dim, false);
    } else {
        for (std::int64_t first = 0; first < pairs; first += kPartRows) {
            const std::int64_t count = std::min(kPartRows, pairs - first);
            product(w.weights + first, std::int64_t(1), w.part_stride, count, w.d_context, step, w.count, w.d_parts,
                    dim, dim, false);
            shorten(w.d_parts, count * dim, d_parts + first * dim);
        }
    }
}

template <typename S>
void backward(const AttentionSizes& n, const AttentionInputs<S>& in, const AttentionKept<S>& kept,
              const AttentionOutputGrads<S>& grads, const AttentionInputGrads<S>& out, std::int64_t b,
              unsigned char* base) {
    using T = WideOf<S>;
    AttentionWorkspace<S> w(n, n.words, true, base);
    const std::int64_t frames = std::clamp<std::int64_t>(in.lengths[b], 0, n.frames);
    w.count = active_words(n, grads, b, frames, w.active);
    const Motion<S> motion(n, in, b, w);
    const auto word_at = [&](std::int64_t j) { return w.active[j]; };
    ready_words(n, in, motion, word_at, w);
    if (kept.gamma == nullptr) {
        score_words(n, in, motion, w);
    } else {
        recall_words(n, kept, motion, word_at, w);
    }
    weigh_words(n, in, motion, w);

    // Eq. 8. From here `weights` is the gradient of the context weights, then that of the spatial scores.
    const std::int64_t pairs = frames * n.parts;
    const std::int64_t context_step = padded<T>(n.part_dim);
    S* d_parts = out.parts + b * n.frames * n.parts * n.part_dim;
    if (grads.context != nullptr) {
        for (std::int64_t j = 0; j < w.count; ++j) {
            copy_padded(grads.context + (b * n.words + w.active[j]) * n.part_dim, n.part_dim,
                        w.d_context + j * context_step);
        }
        part_gradients(n, w, pairs, d_parts);
        dots(w.d_context, context_step, w.count, motion.parts, n.part_dim, pairs, n.part_dim, static_cast<T>(in.scale),
             w.weights, w.part_stride);
    } else {
        std::fill_n(d_parts, pairs * n.part_dim, S());
        std::fill_n(w.weights, w.count * w.part_stride, T(0));
    }
    std::fill(d_parts + pairs * n.part_dim, d_parts + n.frames * n.parts * n.part_dim, S());

    for (std::int64_t j = 0; j < w.count; ++j) {
        score_gradients_of_word(n, grads, b * n.words + w.active[j], frames, w.mean[j], w.variance[j], in.sigma_min,
                                w.window + j * w.frame_stride, w.alpha + j * w.part_stride,
                                w.weights + j * w.part_stride, w.gamma + j * w.slot_stride);
    }
    scoring_backward(n, motion, motion.temporal, w.gamma, w.slot_stride, w, out.temporal_keys, out.temporal_query,
                     out.temporal_weight);
    scoring_backward(n, motion, motion.spatial, w.weights, w.part_stride, w, out.spatial_keys, out.spatial_query,
                     out.spatial_weight);
    for (std::int64_t r = 0; r < n.rows(); ++r) {
        double total = 0;
        for (std::int64_t j = 0; n.rows() > 1 && j < w.count; ++j) {
            for (std::int64_t t = 0; t < frames; ++t) total += w.weights[j * w.part_stride + t * n.parts + r];
        }
        out.spatial_bias[b * n.rows() + r] = static_cast<T>(total);
    }
}

template <typename S>
AttentionKernels<S> attention_kernels() {
    const auto workspace = [](const AttentionSizes& n, std::int64_t words, bool gradient) {
        return AttentionWorkspace<S>(n, words, gradient, nullptr).bytes;
    };
    return {workspace, &forward<S>, &backward<S>};
}

template AttentionKernels<float> attention_kernels<float>();
template AttentionKernels<double> attention_kernels<double>();
template AttentionKernels<BFloat16> attention_kernels<BFloat16>();

}  // namespace M2T_ISA
}  // namespace m2t
