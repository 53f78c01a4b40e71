// Python's way to the kernels of the gated decoder step.
#include <pybind11/stl.h>

#include <string>

#include "cuda/bindings.h"
#include "cuda/gate.h"
#include "cuda/storage.h"

namespace py = pybind11;

namespace m2t::cuda {
namespace {

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    module.def(
        ("bias_tanh_" + suffix).c_str(),
        [](Address x, Address bias, std::int64_t rows, std::int64_t columns, int device, std::uintptr_t stream) {
            bias_tanh<T>(at<T>(x), at<const T>(bias), rows, columns, {device, stream});
        },
        py::arg("x"), py::arg("bias"), py::arg("rows"), py::arg("columns"), py::arg("device"), py::arg("stream"),
        py::call_guard<py::gil_scoped_release>());
}

}  // namespace

void bind_gate(py::module_& module) {
    define<float>(module, "float32");
    define<bfloat16>(module, "bfloat16");
}

}  // namespace m2t::cuda
