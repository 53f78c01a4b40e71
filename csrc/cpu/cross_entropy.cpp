// Spreads the cross entropy over threads, and Python's way to it.
#include "cpu/cross_entropy.h"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>

#include "common/parallel.h"

namespace py = pybind11;

namespace m2t {
namespace {

using Address = std::uintptr_t;

// Rows that a thread takes at a time.
constexpr std::int64_t kRows = 16;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

template <typename T>
void run(Address logits, Address targets, std::int64_t rows, std::int64_t columns, Address losses, Address gradient,
         bool short_gradient, int threads, int isa) {
    const CrossEntropy<T> task = {at<T>(logits),
                                  at<const std::int64_t>(targets),
                                  columns,
                                  at<double>(losses),
                                  short_gradient ? nullptr : at<T>(gradient),
                                  short_gradient ? at<BFloat16>(gradient) : nullptr};
    const CrossEntropyKernels<T> kernel = cross_entropy_kernels<T>(static_cast<InstructionSet>(isa));
    parallel_for((rows + kRows - 1) / kRows, threads,
                 [&](std::int64_t i) { kernel.rows(task, i * kRows, std::min(rows, (i + 1) * kRows)); });
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    module.def(("cross_entropy_" + suffix).c_str(), &run<T>, py::arg("logits"), py::arg("targets"), py::arg("rows"),
               py::arg("columns"), py::arg("losses"), py::arg("gradient"), py::arg("short_gradient"),
               py::arg("threads"), py::arg("instruction_set"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace

void bind_cross_entropy(py::module_& module) {
    define<float>(module, "float32");
    define<double>(module, "float64");
}

}  // namespace m2t
