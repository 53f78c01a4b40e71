// Gathers motions of a ragged store into a padded batch, one motion per thread at a time, and Python's way to it.
#include "cpu/gather.h"

#include <algorithm>
#include <array>
#include <string>

#include "common/functions.h"
#include "common/parallel.h"

namespace m2t {
namespace {

struct Rows {
    std::int64_t begin, count;
};

// The rows of a motion, as many as there are and fit.
Rows rows_of(const GatherSizes& n, const std::int64_t* offsets, std::int64_t motion) {
    if (motion < 0 || motion >= n.motions) return {0, 0};
    const std::int64_t begin = std::clamp<std::int64_t>(offsets[motion], 0, n.rows);
    const std::int64_t end = std::clamp<std::int64_t>(offsets[motion + 1], begin, n.rows);
    return {begin, std::min(end - begin, n.frames)};
}

// One frame: the same subtractions, in the same order, as of a standardised motion that is made root-relative.
template <typename T, bool kStandardise>
void copy_frame(const T* pose, std::int64_t joints, const T* mean, const T* std, T* out) {
    const auto standard = [=](T x, std::int64_t axis) { return kStandardise ? (x - mean[axis]) / std[axis] : x; };
    const T root[3] = {standard(pose[0], 0), standard(pose[1], 1), standard(pose[2], 2)};
    std::copy_n(root, 3, out);
    for (std::int64_t j = 1; j < joints; ++j) {
        for (std::int64_t axis = 0; axis < 3; ++axis) {
            out[3 * j + axis] = standard(pose[3 * j + axis], axis) - root[axis];
        }
    }
}

}  // namespace

template <typename T>
void gather_motions(const GatherSizes& n, const GatherInputs<T>& in, const GatherOutput<T>& out, int threads) {
    const std::int64_t width = 3 * n.joints;
    const auto copy = in.mean == nullptr ? &copy_frame<T, false> : &copy_frame<T, true>;
    parallel_for_uneven(n.batch, threads, [&](std::int64_t b, int) {
        const Rows rows = rows_of(n, in.offsets, in.index[b]);
        T* motion = out.motion + b * n.frames * width;
        for (std::int64_t t = 0; t < rows.count; ++t) {
            copy(in.frames + (rows.begin + t) * width, n.joints, in.mean, in.std, motion + t * width);
        }
        std::fill(motion + rows.count * width, motion + n.frames * width, T(0));
    });
}

namespace {

template <typename T>
void define(Functions& to) {
    to.function<T>("gather_motions", gather_motions<T>, {"sizes", "inputs", "outputs", "threads"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
});

}  // namespace

}  // namespace m2t
