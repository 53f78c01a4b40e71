// Python's way to the kernels of the gated decoder step.
#include <pybind11/stl.h>

#include <string>

#include "cuda/bindings.h"
#include "cuda/gate.h"
#include "cuda/storage.h"

namespace py = pybind11;

namespace m2t::cuda {
namespace {

using Sizes = std::array<std::int64_t, 6>;

GateSizes sizes_of(const Sizes& n) { return {n[0], n[1], n[2], n[3], n[4], n[5], n[3] + n[4] + n[2]}; }

template <typename T>
GateInputs<T> inputs_at(const std::array<Address, 10>& a, float force_gate) {
    return {at<const T>(a[0]), at<const T>(a[1]), at<const T>(a[2]), at<const T>(a[3]),
            at<const T>(a[4]), at<const T>(a[5]), at<const T>(a[6]), at<const T>(a[7]),
            at<const T>(a[8]), at<const T>(a[9]), force_gate};
}

template <typename T>
void run_step(const Sizes& sizes, const std::array<Address, 14>& i, float force_gate, const std::array<Address, 5>& o,
              int device, std::uintptr_t stream) {
    const GateStep<T> step = {at<const T>(i[0]),  at<const T>(i[1]),  at<const T>(i[2]),  at<const T>(i[3]),
                              at<const T>(i[4]),  at<const T>(i[5]),  at<const T>(i[6]),  at<const T>(i[7]),
                              at<const T>(i[8]),  at<const T>(i[9]),  at<const T>(i[10]), at<const T>(i[11]),
                              at<const T>(i[12]), at<const T>(i[13]), at<T>(o[0]),        at<T>(o[1]),
                              at<T>(o[2]),        at<T>(o[3]),        at<T>(o[4]),        force_gate};
    gate_step(sizes_of(sizes), step, {device, stream});
}

template <typename T>
void run_forward(const Sizes& sizes, const std::array<Address, 10>& inputs, float force_gate,
                 const std::array<Address, 3>& o, int device, std::uintptr_t stream) {
    const GateForward<T> out = {at<T>(o[0]), at<T>(o[1]), at<T>(o[2])};
    gate_forward(sizes_of(sizes), inputs_at<T>(inputs, force_gate), out, {device, stream});
}

template <typename T>
void run_backward(const Sizes& sizes, const std::array<Address, 10>& inputs, float force_gate,
                  const std::array<Address, 4>& g, const std::array<Address, 7>& o, int device, std::uintptr_t stream) {
    const GateBackward<T> out = {at<const T>(g[0]), at<const T>(g[1]), at<const T>(g[2]), at<const T>(g[3]),
                                 at<T>(o[0]),       at<T>(o[1]),       at<T>(o[2]),       at<T>(o[3]),
                                 at<T>(o[4]),       at<T>(o[5]),       at<T>(o[6])};
    gate_backward(sizes_of(sizes), inputs_at<T>(inputs, force_gate), out, {device, stream});
}

template <typename T>
void run_bias_tanh(Address x, Address bias, std::int64_t rows, std::int64_t columns, int device,
                   std::uintptr_t stream) {
    bias_tanh<T>(at<T>(x), at<const T>(bias), rows, columns, {device, stream});
}

template <typename T>
void run_tanh_gradient(Address grad, Address y, Address out, std::int64_t count, int device, std::uintptr_t stream) {
    tanh_gradient<T>(at<const T>(grad), at<const T>(y), at<T>(out), count, {device, stream});
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    const auto unlocked = py::call_guard<py::gil_scoped_release>();
    const auto device = py::arg("device"), stream = py::arg("stream");
    module.def(("gate_step_" + suffix).c_str(), &run_step<T>, py::arg("sizes"), py::arg("inputs"),
               py::arg("force_gate"), py::arg("outputs"), device, stream, unlocked);
    module.def(("gate_forward_" + suffix).c_str(), &run_forward<T>, py::arg("sizes"), py::arg("inputs"),
               py::arg("force_gate"), py::arg("outputs"), device, stream, unlocked);
    module.def(("gate_backward_" + suffix).c_str(), &run_backward<T>, py::arg("sizes"), py::arg("inputs"),
               py::arg("force_gate"), py::arg("grads"), py::arg("outputs"), device, stream, unlocked);
    module.def(("bias_tanh_" + suffix).c_str(), &run_bias_tanh<T>, py::arg("x"), py::arg("bias"), py::arg("rows"),
               py::arg("columns"), device, stream, unlocked);
    module.def(("tanh_gradient_" + suffix).c_str(), &run_tanh_gradient<T>, py::arg("grad"), py::arg("y"),
               py::arg("out"), py::arg("count"), device, stream, unlocked);
}

}  // namespace

void bind_gate(py::module_& module) {
    define<float>(module, "float32");
    define<bfloat16>(module, "bfloat16");
}

}  // namespace m2t::cuda
