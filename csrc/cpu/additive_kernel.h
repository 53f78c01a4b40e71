// Additive attention of one sequence: the scores of attention_scores.h, softmax, and back. See isa.h.
#pragma once

#include "cpu/additive.h"
#include "cpu/attention_scores.h"
#include "cpu/attention_words.h"

namespace m2t {
namespace M2T_ISA {

// What a thread keeps of one sequence and `words` of its queries.
template <typename T>
struct AdditiveWorkspace {
    T *query, *weight;  // (words, padded D), made ready; (padded D)
    T* values;          // (kWords + 1, padded D)
    double* z;          // (words, T)
    ScoreSums<T> sums = {};
    std::size_t bytes;

    // Lays the arrays out from `base`; with null it only measures.
    AdditiveWorkspace(const AdditiveSizes& n, std::int64_t words, bool gradient, unsigned char* base) {
        const std::int64_t step = padded<T>(n.dim);
        Layout layout(base);
        layout.take(query, words * step);
        layout.take(weight, step);
        if (gradient) {
            layout.take(sums.total, (words + 1) * step);
            layout.take(sums.tile, (words + 1) * step);
            layout.take(sums.values, 2 * words * lanes<T>());
        } else {
            layout.take(values, (kWords + 1) * step);
            layout.take(z, words * n.frames);
        }
        bytes = layout.bytes();
    }
};

// Calls body(scoring, how) with words [first, last) of sequence b made ready in the workspace; how is ByProduct or
// BySum, a property of the whole sequence, however its words are split.
template <typename T, typename Body>
void with_sequence(const AdditiveSizes& n, const AdditiveInputs<T>& in, std::int64_t b, std::int64_t first,
                   std::int64_t last, const AdditiveWorkspace<T>& w, const Body& body) {
    const std::int64_t frames = std::clamp<std::int64_t>(in.lengths[b], 0, n.frames);
    const T* queries = in.query + b * n.words * n.dim;
    const Scoring<T> s = {in.keys + b * n.frames * n.dim, frames, n.dim, w.query, last - first, w.weight, 1};
    std::copy(in.weight, in.weight + n.dim, w.weight);
    std::fill(w.weight + n.dim, w.weight + padded<T>(n.dim), T(0));
    const auto run = [&](auto how) {
        for (std::int64_t j = 0; j < s.words; ++j) {
            make_ready<decltype(how)>(queries + (first + j) * n.dim, n.dim, w.query + j * padded<T>(n.dim));
        }
        body(s, how);
    };
    if (product_serves(s, in.weight, queries, n.words)) {
        run(ByProduct<T>());
    } else {
        run(BySum<T>());
    }
}

template <typename T>
void additive_weights_of(const AdditiveSizes& n, const AdditiveInputs<T>& in, T* weights, std::int64_t b,
                         std::int64_t first, std::int64_t last, unsigned char* base) {
    const AdditiveWorkspace<T> w(n, last - first, false, base);
    with_sequence(n, in, b, first, last, w, [&](const Scoring<T>& s, auto how) {
        scores<decltype(how)>(s, w.z, n.frames, w.values);
        for (std::int64_t j = 0; j < s.words; ++j) {
            T* row = weights + (b * n.words + first + j) * n.frames;
            softmax(w.z + j * n.frames, s.count, row);
            std::fill(row + s.count, row + n.frames, T(0));
        }
    });
}

template <typename T>
void additive_gradient_of(const AdditiveSizes& n, const AdditiveInputs<T>& in, const T* d_scores,
                          const AdditiveGrads<T>& out, std::int64_t b, unsigned char* base) {
    const AdditiveWorkspace<T> w(n, n.words, true, base);
    const std::int64_t step = padded<T>(n.dim);
    std::fill(w.sums.total, w.sums.total + (n.words + 1) * step, T(0));
    with_sequence(n, in, b, 0, n.words, w, [&](const Scoring<T>& s, auto how) {
        T* keys = out.keys + b * n.frames * n.dim;
        score_gradients<decltype(how)>(s, d_scores + b * n.words * n.frames, n.frames, keys, w.sums);
        std::fill(keys + s.count * n.dim, keys + n.frames * n.dim, T(0));
    });
    for (std::int64_t j = 0; j < n.words; ++j) {
        std::copy_n(w.sums.total + j * step, n.dim, out.query + (b * n.words + j) * n.dim);
    }
    std::copy_n(w.sums.total + n.words * step, n.dim, out.weight + b * n.dim);
}

template <typename T>
AdditiveKernels<T> additive_kernels() {
    const auto workspace = [](const AdditiveSizes& n, std::int64_t words, bool gradient) {
        return AdditiveWorkspace<T>(n, words, gradient, nullptr).bytes;
    };
    return {workspace, &additive_weights_of<T>, &additive_gradient_of<T>};
}

template AdditiveKernels<float> additive_kernels<float>();
template AdditiveKernels<double> additive_kernels<double>();

}  // namespace M2T_ISA
}  // namespace m2t
