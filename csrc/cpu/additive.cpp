// Spreads additive attention over threads, and Python's way to it.
#include "cpu/additive.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <vector>

#include "common/parallel.h"
#include "common/workspace.h"

namespace py = pybind11;

namespace m2t {

template <typename T>
void additive_weights(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, T* weights, int threads,
                      InstructionSet isa) {
    // All queries of a sequence at once read its keys once. With few sequences, several threads share one.
    const std::int64_t wanted = 4 * static_cast<std::int64_t>(std::max(threads, 1));
    const std::int64_t cuts = sizes.batch >= wanted || sizes.batch == 0 ? 1 : (wanted + sizes.batch - 1) / sizes.batch;
    const std::int64_t words = std::max<std::int64_t>(4, ((sizes.words + cuts - 1) / cuts + 3) / 4 * 4);
    const std::int64_t chunks = (sizes.words + words - 1) / words;
    const AdditiveKernels<T> kernel = additive_kernels<T>(isa);
    const Workspaces workspaces(threads, kernel.workspace(sizes, std::min(words, sizes.words), false));
    parallel_for_uneven(sizes.batch * chunks, threads, [&](std::int64_t item, int thread) {
        const std::int64_t first = item % chunks * words;
        kernel.weights(sizes, in, weights, item / chunks, first, std::min(first + words, sizes.words),
                       workspaces.of(thread));
    });
}

template <typename T>
void additive_gradient(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, const T* d_scores,
                       const AdditiveGrads<T>& out, int threads, InstructionSet isa) {
    // Each sequence leaves its share of the weight's gradient; they are added up in order.
    std::vector<T> shares(static_cast<std::size_t>(sizes.batch * sizes.dim));
    const AdditiveKernels<T> kernel = additive_kernels<T>(isa);
    const Workspaces workspaces(threads, kernel.workspace(sizes, sizes.words, true));
    parallel_for_uneven(sizes.batch, threads, [&](std::int64_t b, int thread) {
        kernel.gradient(sizes, in, d_scores, {out.query, out.keys, shares.data()}, b, workspaces.of(thread));
    });
    for (std::int64_t d = 0; d < sizes.dim; ++d) {
        double total = 0;
        for (std::int64_t b = 0; b < sizes.batch; ++b) total += shares[static_cast<std::size_t>(b * sizes.dim + d)];
        out.weight[d] = static_cast<T>(total);
    }
}

namespace {

using Address = std::uintptr_t;
using Sizes = std::array<std::int64_t, 4>;

AdditiveSizes sizes_of(const Sizes& n) { return {n[0], n[1], n[2], n[3]}; }

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

template <typename T>
AdditiveInputs<T> inputs_at(const std::array<Address, 3>& a, Address lengths) {
    return {at<const T>(a[0]), at<const T>(a[1]), at<const T>(a[2]), at<const std::int64_t>(lengths)};
}

template <typename T>
void run_weights(const Sizes& sizes, const std::array<Address, 3>& inputs, Address lengths, Address weights,
                 int threads, int isa) {
    additive_weights<T>(sizes_of(sizes), inputs_at<T>(inputs, lengths), at<T>(weights), threads,
                        static_cast<InstructionSet>(isa));
}

template <typename T>
void run_gradient(const Sizes& sizes, const std::array<Address, 3>& inputs, Address lengths, Address d_scores,
                  const std::array<Address, 3>& outputs, int threads, int isa) {
    additive_gradient<T>(sizes_of(sizes), inputs_at<T>(inputs, lengths), at<const T>(d_scores),
                         {at<T>(outputs[0]), at<T>(outputs[1]), at<T>(outputs[2])}, threads,
                         static_cast<InstructionSet>(isa));
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    module.def(("additive_weights_" + suffix).c_str(), &run_weights<T>, py::arg("sizes"), py::arg("inputs"),
               py::arg("lengths"), py::arg("weights"), py::arg("threads"), py::arg("instruction_set"),
               py::call_guard<py::gil_scoped_release>());
    module.def(("additive_gradient_" + suffix).c_str(), &run_gradient<T>, py::arg("sizes"), py::arg("inputs"),
               py::arg("lengths"), py::arg("d_scores"), py::arg("outputs"), py::arg("threads"),
               py::arg("instruction_set"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace

void bind_additive(py::module_& module) {
    define<float>(module, "float32");
    define<double>(module, "float64");
}

}  // namespace m2t
