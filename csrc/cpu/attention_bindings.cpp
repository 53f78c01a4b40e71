// Python's way to attention: addresses as integers, in the order of the tensors in attention.h.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "cpu/attention.h"

namespace py = pybind11;

namespace m2t {
namespace {

using Address = std::uintptr_t;
using Sizes = std::array<std::int64_t, 7>;

AttentionSizes sizes_of(const Sizes& n) { return {n[0], n[1], n[2], n[3], n[4], n[5], n[6]}; }

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

template <typename T>
AttentionInputs<T> inputs_at(const std::array<Address, 8>& a, Address lengths, double scale, double sigma_min) {
    return {at<const T>(a[0]),
            at<const T>(a[1]),
            at<const T>(a[2]),
            at<const T>(a[3]),
            at<const T>(a[4]),
            at<const T>(a[5]),
            at<const T>(a[6]),
            at<const T>(a[7]),
            at<const std::int64_t>(lengths),
            scale,
            sigma_min};
}

template <typename T>
void run_forward(const Sizes& sizes, const std::array<Address, 8>& inputs, Address lengths, double scale,
                 double sigma_min, const std::array<Address, 6>& o, int threads, int isa) {
    const AttentionOutputs<T> outputs = {at<T>(o[0]), at<T>(o[1]), at<T>(o[2]), at<T>(o[3]), at<T>(o[4]), at<T>(o[5])};
    attention_forward<T>(sizes_of(sizes), inputs_at<T>(inputs, lengths, scale, sigma_min), outputs, threads,
                         static_cast<InstructionSet>(isa));
}

template <typename T>
void run_backward(const Sizes& sizes, const std::array<Address, 8>& inputs, Address lengths, double scale,
                  double sigma_min, const std::array<Address, 2>& kept, const std::array<Address, 5>& g,
                  const std::array<Address, 8>& o, int threads, int isa) {
    const AttentionOutputGrads<T> grads = {at<const T>(g[0]), at<const T>(g[1]), at<const T>(g[2]), at<const T>(g[3]),
                                           at<const T>(g[4])};
    const AttentionInputGrads<T> outputs = {at<T>(o[0]), at<T>(o[1]), at<T>(o[2]), at<T>(o[3]),
                                            at<T>(o[4]), at<T>(o[5]), at<T>(o[6]), at<T>(o[7])};
    attention_backward<T>(sizes_of(sizes), inputs_at<T>(inputs, lengths, scale, sigma_min),
                          {at<const T>(kept[0]), at<const T>(kept[1])}, grads, outputs, threads,
                          static_cast<InstructionSet>(isa));
}

template <typename T>
void define(py::module_& module, const char* forward, const char* backward) {
    module.def(forward, &run_forward<T>, py::arg("sizes"), py::arg("inputs"), py::arg("lengths"), py::arg("scale"),
               py::arg("sigma_min"), py::arg("outputs"), py::arg("threads"), py::arg("instruction_set"),
               py::call_guard<py::gil_scoped_release>());
    module.def(backward, &run_backward<T>, py::arg("sizes"), py::arg("inputs"), py::arg("lengths"), py::arg("scale"),
               py::arg("sigma_min"), py::arg("kept"), py::arg("grads"), py::arg("outputs"), py::arg("threads"),
               py::arg("instruction_set"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace

void bind_attention(py::module_& module) {
    define<float>(module, "attention_forward_float32", "attention_backward_float32");
    define<double>(module, "attention_forward_float64", "attention_backward_float64");
}

}  // namespace m2t
