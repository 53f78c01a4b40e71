// Spreads the gated step over threads, and Python's way to it.
#include "cpu/gate.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "common/parallel.h"

namespace py = pybind11;

namespace m2t {
namespace {

using Address = std::uintptr_t;

// Words that a thread takes at a time.
constexpr std::int64_t kRows = 16;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// body(first, last) over [0, count) in pieces of `step`.
template <typename Body>
void in_pieces(std::int64_t count, std::int64_t step, int threads, const Body& body) {
    parallel_for((count + step - 1) / step, threads,
                 [&](std::int64_t i) { body(i * step, std::min((i + 1) * step, count)); });
}

template <typename T>
GateInputs<T> inputs_at(const std::array<Address, 10>& a, double force_gate) {
    return {at<const T>(a[0]), at<const T>(a[1]), at<const T>(a[2]), at<const T>(a[3]),
            at<const T>(a[4]), at<const T>(a[5]), at<const T>(a[6]), at<const T>(a[7]),
            at<const T>(a[8]), at<const T>(a[9]), force_gate};
}

template <typename T>
void run_forward(const std::array<std::int64_t, 4>& n, const std::array<Address, 10>& inputs, double force_gate,
                 const std::array<Address, 3>& o, int threads, int isa) {
    const GateSizes sizes = {n[0], n[1], n[2], n[3]};
    const GateInputs<T> in = inputs_at<T>(inputs, force_gate);
    const GateForward<T> out = {at<T>(o[0]), at<T>(o[1]), at<T>(o[2])};
    const GateKernels<T> kernel = gate_kernels<T>(static_cast<InstructionSet>(isa));
    in_pieces(sizes.rows, kRows, threads,
              [&](std::int64_t first, std::int64_t last) { kernel.forward(sizes, in, out, first, last); });
}

template <typename T>
void run_backward(const std::array<std::int64_t, 4>& n, const std::array<Address, 10>& inputs, double force_gate,
                  const std::array<Address, 4>& g, const std::array<Address, 7>& o, int threads, int isa) {
    const GateSizes sizes = {n[0], n[1], n[2], n[3]};
    const GateInputs<T> in = inputs_at<T>(inputs, force_gate);
    const GateBackward<T> out = {at<const T>(g[0]), at<const T>(g[1]), at<const T>(g[2]), at<const T>(g[3]),
                                 at<T>(o[0]),       at<T>(o[1]),       at<T>(o[2]),       at<T>(o[3]),
                                 at<T>(o[4]),       at<T>(o[5]),       at<T>(o[6])};
    const GateKernels<T> kernel = gate_kernels<T>(static_cast<InstructionSet>(isa));
    in_pieces(sizes.rows, kRows, threads,
              [&](std::int64_t first, std::int64_t last) { kernel.backward(sizes, in, out, first, last); });
}

template <typename T>
void run_bias_tanh(Address x, Address bias, std::int64_t rows, std::int64_t columns, int threads, int isa) {
    const GateKernels<T> kernel = gate_kernels<T>(static_cast<InstructionSet>(isa));
    in_pieces(rows, kRows, threads, [&](std::int64_t first, std::int64_t last) {
        kernel.bias_tanh(at<T>(x), at<const T>(bias), columns, first, last);
    });
}

template <typename T>
void run_tanh_gradient(Address grad, Address y, Address out, std::int64_t count, int threads, int isa) {
    const GateKernels<T> kernel = gate_kernels<T>(static_cast<InstructionSet>(isa));
    in_pieces(count, 1 << 14, threads, [&](std::int64_t first, std::int64_t last) {
        kernel.tanh_gradient(at<const T>(grad), at<const T>(y), at<T>(out), first, last);
    });
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    const auto unlocked = py::call_guard<py::gil_scoped_release>();
    module.def(("gate_forward_" + suffix).c_str(), &run_forward<T>, py::arg("sizes"), py::arg("inputs"),
               py::arg("force_gate"), py::arg("outputs"), py::arg("threads"), py::arg("instruction_set"), unlocked);
    module.def(("gate_backward_" + suffix).c_str(), &run_backward<T>, py::arg("sizes"), py::arg("inputs"),
               py::arg("force_gate"), py::arg("grads"), py::arg("outputs"), py::arg("threads"),
               py::arg("instruction_set"), unlocked);
    module.def(("bias_tanh_" + suffix).c_str(), &run_bias_tanh<T>, py::arg("x"), py::arg("bias"), py::arg("rows"),
               py::arg("columns"), py::arg("threads"), py::arg("instruction_set"), unlocked);
    module.def(("tanh_gradient_" + suffix).c_str(), &run_tanh_gradient<T>, py::arg("grad"), py::arg("y"),
               py::arg("out"), py::arg("count"), py::arg("threads"), py::arg("instruction_set"), unlocked);
}

}  // namespace

void bind_gate(py::module_& module) {
    define<float>(module, "float32");
    define<double>(module, "float64");
}

}  // namespace m2t
