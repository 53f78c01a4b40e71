// Gathers motions of a ragged store into a padded batch, one motion per thread at a time, and Python's way to it.
#include "cpu/gather.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <string>

#include "common/parallel.h"

namespace py = pybind11;

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
void gather_motions(const GatherSizes& n, const GatherInputs<T>& in, T* out, int threads) {
    const std::int64_t width = 3 * n.joints;
    const auto copy = in.mean == nullptr ? &copy_frame<T, false> : &copy_frame<T, true>;
    parallel_for_uneven(n.batch, threads, [&](std::int64_t b, int) {
        const Rows rows = rows_of(n, in.offsets, in.index[b]);
        T* motion = out + b * n.frames * width;
        for (std::int64_t t = 0; t < rows.count; ++t) {
            copy(in.frames + (rows.begin + t) * width, n.joints, in.mean, in.std, motion + t * width);
        }
        std::fill(motion + rows.count * width, motion + n.frames * width, T(0));
    });
}

namespace {

using Address = std::uintptr_t;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

template <typename T>
void run(const std::array<std::int64_t, 5>& n, Address frames, Address offsets, Address index, Address mean,
         Address std, Address out, int threads) {
    const GatherInputs<T> in = {at<const T>(frames), at<const std::int64_t>(offsets), at<const std::int64_t>(index),
                                at<const T>(mean), at<const T>(std)};
    gather_motions<T>({n[0], n[1], n[2], n[3], n[4]}, in, at<T>(out), threads);
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    module.def(("gather_motions_" + suffix).c_str(), &run<T>, py::arg("sizes"), py::arg("frames"), py::arg("offsets"),
               py::arg("index"), py::arg("mean"), py::arg("std"), py::arg("out"), py::arg("threads"),
               py::call_guard<py::gil_scoped_release>());
}

}  // namespace

void bind_gather(py::module_& module) {
    define<float>(module, "float32");
    define<double>(module, "float64");
}

}  // namespace m2t
