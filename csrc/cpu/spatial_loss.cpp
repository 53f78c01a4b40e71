// Supervised words are few and the rest costs nothing, so one plain copy serves every instruction set.
#include "cpu/spatial_loss.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "common/functions.h"
#include "common/parallel.h"

namespace m2t {
namespace {

// Floor of a logarithm, as in torch's binary cross entropy.
constexpr double kLogMin = -100;

std::int64_t valid_frames(const SpatialLossSizes& n, const std::int64_t* lengths, std::int64_t b) {
    return std::clamp<std::int64_t>(lengths[b], 0, n.frames);
}

// Calls body(l, i, hit) for every supervised word l and part i of motion b.
template <typename T, typename Body>
void for_supervised(const SpatialLossSizes& n, const T* target, std::int64_t b, const Body& body) {
    for (std::int64_t l = 0; l < n.words; ++l) {
        for (std::int64_t i = 0; i < n.parts; ++i) {
            const T goal = target[(b * n.words + l) * n.parts + i];
            if (goal >= 0) body(l, i, goal > 0);
        }
    }
}

template <typename T>
std::int64_t counted(const SpatialLossSizes& n, const T* target, const std::int64_t* lengths) {
    std::int64_t count = 0;
    for (std::int64_t b = 0; b < n.batch; ++b) {
        for_supervised(n, target, b, [&](std::int64_t, std::int64_t, bool) { count += valid_frames(n, lengths, b); });
    }
    return std::max<std::int64_t>(count, 1);
}

// alpha_i if part i performs the word, else 1 - alpha_i: the sum of the others, exact also where alpha_i rounds to 1.
template <typename T>
double right_weight(const T* alpha, std::int64_t parts, std::int64_t i, bool hit) {
    if (hit) return alpha[i];
    double others = 0;
    for (std::int64_t j = 0; j < parts; ++j) others += j == i ? 0 : static_cast<double>(alpha[j]);
    return others;
}

// Written so that NaN is let through.
template <typename T>
bool underflowed(double weight) {
    return weight <= static_cast<double>(std::numeric_limits<T>::min()) || std::log(weight) < kLogMin;
}

template <typename T>
double loss_of_motion(const SpatialLossSizes& n, const T* spatial, const T* target, std::int64_t frames,
                      std::int64_t b) {
    double total = 0;
    for_supervised(n, target, b, [&](std::int64_t l, std::int64_t i, bool hit) {
        const T* alpha = spatial + (b * n.words + l) * n.frames * n.parts;
        for (std::int64_t t = 0; t < frames; ++t) {
            const double weight = right_weight(alpha + t * n.parts, n.parts, i, hit);
            total -= underflowed<T>(weight) ? kLogMin : std::log(weight);
        }
    });
    return total;
}

template <typename T>
void gradient_of_motion(const SpatialLossSizes& n, const T* spatial, const T* target, std::int64_t frames,
                        std::int64_t b, double grad, T* out) {
    const std::int64_t size = n.frames * n.parts;
    std::fill_n(out + b * n.words * size, n.words * size, T(0));
    for_supervised(n, target, b, [&](std::int64_t l, std::int64_t i, bool hit) {
        const std::int64_t word = (b * n.words + l) * size;
        for (std::int64_t t = 0; t < frames; ++t) {
            const double weight = right_weight(spatial + word + t * n.parts, n.parts, i, hit);
            if (underflowed<T>(weight)) continue;
            const T d = static_cast<T>(-grad / weight);
            T* d_alpha = out + word + t * n.parts;
            for (std::int64_t j = 0; j < n.parts; ++j) {
                if ((j == i) == hit) d_alpha[j] += d;
            }
        }
    });
}

}  // namespace

template <typename T>
void spatial_loss_forward(const SpatialLossSizes& sizes, const SpatialLossInputs<T>& in,
                          const SpatialLossOutput<T>& out, int threads) {
    std::vector<double> totals(static_cast<std::size_t>(sizes.batch));
    parallel_for(sizes.batch, threads, [&](std::int64_t b) {
        totals[static_cast<std::size_t>(b)] =
            loss_of_motion(sizes, in.spatial, in.target, valid_frames(sizes, in.lengths, b), b);
    });
    double total = 0;
    for (const double x : totals) total += x;
    *out.out = static_cast<T>(total / static_cast<double>(counted(sizes, in.target, in.lengths)));
}

template <typename T>
void spatial_loss_backward(const SpatialLossSizes& sizes, const SpatialLossInputs<T>& in, double grad,
                           const SpatialLossOutput<T>& out, int threads) {
    const double each = grad / static_cast<double>(counted(sizes, in.target, in.lengths));
    parallel_for(sizes.batch, threads, [&](std::int64_t b) {
        gradient_of_motion(sizes, in.spatial, in.target, valid_frames(sizes, in.lengths, b), b, each, out.out);
    });
}

namespace {

template <typename T>
void define(Functions& to) {
    to.function<T>("spatial_loss_forward", spatial_loss_forward<T>, {"sizes", "inputs", "outputs", "threads"});
    to.function<T>("spatial_loss_backward", spatial_loss_backward<T>,
                   {"sizes", "inputs", "grad", "outputs", "threads"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
});

}  // namespace

}  // namespace m2t
