// Python's way to the bare loops.
#include "cpu/rates.h"

#include <pybind11/pybind11.h>

#include <string>

namespace py = pybind11;

namespace m2t {
namespace {

template <typename T>
std::int64_t run_multiply_adds(std::int64_t count, int isa) {
    T sink;
    return rate_kernels<T>(static_cast<InstructionSet>(isa)).multiply_adds(count, &sink);
}

template <typename T>
std::int64_t run_tanh_sums(std::int64_t count, int isa) {
    T sink;
    return rate_kernels<T>(static_cast<InstructionSet>(isa)).tanh_sums(count, &sink);
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    const auto unlocked = py::call_guard<py::gil_scoped_release>();
    module.def(("multiply_adds_" + suffix).c_str(), &run_multiply_adds<T>, py::arg("count"), py::arg("instruction_set"),
               unlocked);
    module.def(("tanh_sums_" + suffix).c_str(), &run_tanh_sums<T>, py::arg("count"), py::arg("instruction_set"),
               unlocked);
}

}  // namespace

void bind_rates(py::module_& module) {
    define<float>(module, "float32");
    define<double>(module, "float64");
}

}  // namespace m2t
