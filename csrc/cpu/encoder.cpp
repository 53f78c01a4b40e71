// Spreads the part encoder over threads, leads the gradient back to the joints, and Python's way to both.
#include "cpu/encoder.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <vector>

#include "common/huge_pages.h"
#include "common/parallel.h"
#include "common/workspace.h"

namespace py = pybind11;

namespace m2t {

template <typename T>
void encoder_forward(const EncoderSizes& sizes, const EncoderInputs<T>& in, T* parts, int threads, InstructionSet isa) {
    const EncoderKernels<T> kernel = encoder_kernels<T>(isa);
    const Workspaces workspaces(threads, kernel.workspace(sizes));
    prefer_huge_pages(parts,
                      static_cast<std::size_t>(sizes.batch * sizes.frames * sizes.parts * 2 * sizes.half) * sizeof(T));
    const std::int64_t tiles = (sizes.frames + kEncoderTile - 1) / kEncoderTile;
    parallel_for_uneven(sizes.batch * tiles, threads, [&](std::int64_t item, int thread) {
        kernel.forward(sizes, in, parts, item / tiles, item % tiles * kEncoderTile, workspaces.of(thread));
    });
}

namespace {

// Of one motion: from the gradients of both streams' coordinates to that of the joints.
template <typename T>
void motion_gradient(const EncoderSizes& n, const T* d_positions, const T* d_velocity, std::int64_t valid, T* out) {
    const std::int64_t width = 3 * n.joints;
    std::fill(out, out + n.frames * width, T(0));
    const auto add = [&](const T* from, T* pose, T sign) {
        for (std::int64_t j = 0; j < n.rows / 3; ++j) {
            for (std::int64_t axis = 0; axis < 3; ++axis) {
                const T d = sign * from[3 * j + axis];
                pose[3 * n.part_joints[j] + axis] += d;
                // Every joint but the root had the root subtracted.
                if (n.part_joints[j] != 0 && !n.relative) pose[axis] -= d;
            }
        }
    };
    for (std::int64_t t = 0; t < valid; ++t) {
        add(d_positions + t * n.rows, out + t * width, T(1));
        if (t == 0) continue;  // velocity is 0 there, whatever the motion
        add(d_velocity + t * n.rows, out + t * width, T(1));
        add(d_velocity + t * n.rows, out + (t - 1) * width, T(-1));
    }
}

}  // namespace

template <typename T>
void encoder_backward(const EncoderSizes& sizes, const EncoderInputs<T>& in, const EncoderGrads<T>& out, T* d_motion,
                      int threads, InstructionSet isa) {
    const EncoderKernels<T> kernel = encoder_kernels<T>(isa);
    const Workspaces workspaces(threads, kernel.workspace(sizes));
    const std::int64_t stream_size = sizes.batch * sizes.frames * sizes.rows;
    std::vector<T> d_inputs(d_motion == nullptr ? 0 : static_cast<std::size_t>(2 * stream_size), T(0));
    EncoderGrads<T> grads = out;
    grads.inputs = d_motion == nullptr ? nullptr : d_inputs.data();
    // A part and stream has weights of its own, so each is one thread's work, all motions in order.
    parallel_for_uneven(2 * sizes.parts, threads, [&](std::int64_t item, int thread) {
        kernel.backward(sizes, in, grads, item % 2, item / 2, workspaces.of(thread));
    });
    if (d_motion == nullptr) return;
    parallel_for_uneven(sizes.batch, threads, [&](std::int64_t b, int) {
        const T* positions = d_inputs.data() + b * sizes.frames * sizes.rows;
        motion_gradient(sizes, positions, positions + stream_size,
                        std::clamp<std::int64_t>(in.lengths[b], 0, sizes.frames),
                        d_motion + b * sizes.frames * sizes.joints * 3);
    });
}

namespace {

using Address = std::uintptr_t;
using Numbers = std::vector<std::int64_t>;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

EncoderSizes sizes_of(const std::array<std::int64_t, 7>& n, const Numbers& joints, const Numbers& part_sizes) {
    return {n[0],
            n[1],
            n[2],
            n[3],
            n[4],
            n[5],
            joints.data(),
            part_sizes.data(),
            3 * static_cast<std::int64_t>(joints.size()),
            n[6] != 0};
}

template <typename T>
EncoderInputs<T> inputs_at(const std::array<Address, 5>& a, Address lengths) {
    return {at<const T>(a[0]), at<const std::int64_t>(lengths), at<const T>(a[1]), at<const T>(a[2]), at<const T>(a[3]),
            at<const T>(a[4])};
}

template <typename T>
void run_forward(const std::array<std::int64_t, 7>& n, const Numbers& joints, const Numbers& part_sizes,
                 const std::array<Address, 5>& inputs, Address lengths, Address parts, int threads, int isa) {
    encoder_forward<T>(sizes_of(n, joints, part_sizes), inputs_at<T>(inputs, lengths), at<T>(parts), threads,
                       static_cast<InstructionSet>(isa));
}

template <typename T>
void run_backward(const std::array<std::int64_t, 7>& n, const Numbers& joints, const Numbers& part_sizes,
                  const std::array<Address, 5>& inputs, Address lengths, const std::array<Address, 4>& saved,
                  const std::array<Address, 4>& o, Address d_motion, int threads, int isa) {
    const EncoderGrads<T> out = {at<const T>(saved[0]), at<const T>(saved[1]), at<const T>(saved[2]),
                                 at<const T>(saved[3]), at<T>(o[0]),           at<T>(o[1]),
                                 at<T>(o[2]),           at<T>(o[3]),           nullptr};
    encoder_backward<T>(sizes_of(n, joints, part_sizes), inputs_at<T>(inputs, lengths), out, at<T>(d_motion), threads,
                        static_cast<InstructionSet>(isa));
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    const auto unlocked = py::call_guard<py::gil_scoped_release>();
    module.def(("encoder_forward_" + suffix).c_str(), &run_forward<T>, py::arg("sizes"), py::arg("part_joints"),
               py::arg("part_sizes"), py::arg("inputs"), py::arg("lengths"), py::arg("parts"), py::arg("threads"),
               py::arg("instruction_set"), unlocked);
    module.def(("encoder_backward_" + suffix).c_str(), &run_backward<T>, py::arg("sizes"), py::arg("part_joints"),
               py::arg("part_sizes"), py::arg("inputs"), py::arg("lengths"), py::arg("saved"), py::arg("outputs"),
               py::arg("d_motion"), py::arg("threads"), py::arg("instruction_set"), unlocked);
}

}  // namespace

void bind_encoder(py::module_& module) {
    define<float>(module, "float32");
    define<double>(module, "float64");
}

}  // namespace m2t
