// What is done to the scores of one word: softmax, moments, Gaussian window, and their gradient (eq. 3, 4 and 6).
//
// A few numbers for each frame, so clarity and precision come first here. Included by kernels: see isa.h.
#pragma once

#include "common/vector_math.h"
#include "cpu/attention.h"

namespace m2t {
namespace M2T_ISA {

// x = exp(x) for n numbers, all <= 0.
template <typename T>
void exp_in_place(T* x, std::int64_t n) {
    constexpr std::int64_t W = lanes<T>();
    std::int64_t i = 0;
    for (; i + W <= n; i += W) store(x + i, exp_nonpositive<T>(load(x + i)));
    if (i < n) store_first(x + i, exp_nonpositive<T>(load_first(x + i, n - i)), n - i);
}

template <typename T>
T largest(const T* x, std::int64_t n) {
    T most = -std::numeric_limits<T>::infinity();
    for (std::int64_t i = 0; i < n; ++i) most = x[i] > most ? x[i] : most;
    return most;
}

// Eq. 3: gamma, the softmax over all n scores of a word. They come in double, because the last bit of a large float
// score is an error of its exponential.
template <typename T>
void softmax(const double* z, std::int64_t n, T* gamma) {
    const double most = largest(z, n);
    for (std::int64_t i = 0; i < n; ++i) gamma[i] = static_cast<T>(z[i] - most);
    exp_in_place(gamma, n);
    double total = 0;
    for (std::int64_t i = 0; i < n; ++i) total += gamma[i];
    const T scale = static_cast<T>(1 / total);
    for (std::int64_t i = 0; i < n; ++i) gamma[i] *= scale;
}

// The moments of gamma (frames, slots) over the frames. Two passes over the few numbers of one word, in double: the
// variance is taken about the mean, so that a narrow gamma far into a long motion loses nothing.
template <typename T>
void moments(const T* gamma, std::int64_t frames, std::int64_t slots, double& mean, double& variance) {
    const auto frame_weight = [=](std::int64_t t) {
        double weight = 0;
        for (std::int64_t s = 0; s < slots; ++s) weight += gamma[t * slots + s];
        return weight;
    };
    double total = 0, first = 0;
    for (std::int64_t t = 0; t < frames; ++t) {
        const double weight = frame_weight(t);
        total += weight;
        first += static_cast<double>(t) * weight;
    }
    mean = first / total;
    double second = 0;
    for (std::int64_t t = 0; t < frames; ++t) {
        const double offset = static_cast<double>(t) - mean;
        second += offset * offset * frame_weight(t);
    }
    variance = second / total;
}

inline double clamped_std(double variance, double sigma_min) {
    return std::sqrt(variance < sigma_min * sigma_min ? sigma_min * sigma_min : variance);
}

// Eq. 4 for one word.
template <typename T>
void gaussian_window(std::int64_t frames, double mean, double std, T* window) {
    for (std::int64_t t = 0; t < frames; ++t) {
        const double u = (static_cast<double>(t) - mean) / std;
        window[t] = static_cast<T>(-0.5 * u * u);
    }
    exp_in_place(window, frames);
}

// Eq. 6 for one word: scores become alpha, the softmax over the parts of every frame.
template <typename T>
void softmax_over_parts(T* scores, std::int64_t frames, std::int64_t parts, const T* bias) {
    for (std::int64_t t = 0; t < frames; ++t) {
        T* s = scores + t * parts;
        if (bias != nullptr) {
            for (std::int64_t i = 0; i < parts; ++i) s[i] += bias[i];
        }
        const T most = largest(s, parts);
        for (std::int64_t i = 0; i < parts; ++i) s[i] -= most;
    }
    exp_in_place(scores, frames * parts);
    for (std::int64_t t = 0; t < frames; ++t) {
        T* s = scores + t * parts;
        T total = 0;
        for (std::int64_t i = 0; i < parts; ++i) total += s[i];
        for (std::int64_t i = 0; i < parts; ++i) s[i] /= total;
    }
}

// Gradients of the scores of one word, in place: `d_weights` (frames * parts), the gradient of the context weights
// window * alpha, becomes that of the spatial scores, `gamma` that of the temporal scores.
template <typename S, typename T>
void score_gradients_of_word(const AttentionSizes& n, const AttentionOutputGrads<S>& grads, std::int64_t row,
                             std::int64_t frames, double mean, double variance, double sigma_min, const T* window,
                             const T* alpha, T* d_weights, T* gamma) {
    const double std = clamped_std(variance, sigma_min);
    double d_mean = 0, d_std = 0;
    for (std::int64_t t = 0; t < frames; ++t) {
        const T* a = alpha + t * n.parts;
        T* d = d_weights + t * n.parts;
        T d_window = grads.window == nullptr ? T(0) : grads.window[row * n.frames + t];
        T along = 0;
        for (std::int64_t i = 0; i < n.parts; ++i) {
            d_window += d[i] * a[i];
            d[i] *= window[t];
            if (grads.spatial != nullptr) d[i] += grads.spatial[(row * n.frames + t) * n.parts + i];
            along += d[i] * a[i];
        }
        for (std::int64_t i = 0; i < n.parts; ++i) d[i] = a[i] * (d[i] - along);
        const double u = (static_cast<double>(t) - mean) / std;
        const double g = static_cast<double>(d_window) * static_cast<double>(window[t]) * u;
        d_mean += g;
        d_std += g * u;
    }
    d_mean /= std;
    d_std /= std;
    if (grads.mean != nullptr) d_mean += grads.mean[row];
    if (grads.std != nullptr) d_std += grads.std[row];
    // A clamped sigma is a constant. The moments' gradients are centred: they sum to 0 over gamma.
    const double d_variance = variance < sigma_min * sigma_min ? 0 : d_std / (2 * std);
    for (std::int64_t t = 0; t < frames; ++t) {
        const double offset = static_cast<double>(t) - mean;
        const T d_frame = static_cast<T>(offset * d_mean + (offset * offset - variance) * d_variance);
        for (std::int64_t s = 0; s < n.slots; ++s) gamma[t * n.slots + s] *= d_frame;
    }
}

}  // namespace M2T_ISA
}  // namespace m2t
