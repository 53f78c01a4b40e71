// Python's way to the kernels of decoding.
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "cuda/bindings.h"
#include "cuda/decode.h"
#include "cuda/storage.h"

namespace py = pybind11;

namespace m2t::cuda {
namespace {

DecodeSizes sizes_of(const std::array<int, 10>& n) {
    return {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9]};
}

template <typename T>
DecodeMemory<T> memory_of(const std::array<Address, 4>& m) {
    return {at<const T>(m[0]), at<const T>(m[1]), at<const T>(m[2]), at<const std::int64_t>(m[3])};
}

template <typename T>
DecoderWeights<T> weights_of(const std::array<Address, 27>& w) {
    const auto p = [&](int i) { return at<const T>(w[i]); };
    return {p(0),  p(1),  p(2),  p(3),  p(4),  p(5),  p(6),  p(7),  p(8),  p(9),  p(10), p(11), p(12), p(13),
            p(14), p(15), p(16), p(17), p(18), p(19), p(20), p(21), p(22), p(23), p(24), p(25), p(26)};
}

DecodePlan plan_of(const std::array<std::int64_t, 4>& p) {
    return {static_cast<int>(p[0]), static_cast<int>(p[1]), static_cast<int>(p[2]), p[3]};
}

// counts: beams, max_length, pad, start, end; numbers: length penalty, scale, least deviation, forced gate or NaN.
DecodeOptions options_of(const std::array<int, 5>& counts, const std::array<float, 4>& numbers) {
    return {counts[0], counts[1], counts[2], counts[3], counts[4], numbers[0], numbers[1], numbers[2], numbers[3]};
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    module.def(
        ("plan_decode_" + suffix).c_str(),
        [](const std::array<int, 10>& sizes, int beams, int max_length, bool sampling, int device, std::uintptr_t) {
            const DecodePlan plan = plan_decode<T>(sizes_of(sizes), beams, max_length, sampling, device);
            return std::array<std::int64_t, 4>{plan.teams, plan.cluster, plan.slots, plan.bytes};
        },
        py::arg("sizes"), py::arg("beams"), py::arg("max_length"), py::arg("sampling"), py::arg("device"),
        py::arg("stream"));
    module.def(("decode_search_" + suffix).c_str(),
               [](const std::array<int, 10>& sizes, const std::array<Address, 4>& memory,
                  const std::array<Address, 27>& weights, const std::array<int, 5>& counts,
                  const std::array<float, 4>& numbers, const std::array<Address, 7>& outputs,
                  const std::array<std::int64_t, 4>& plan, Address scratch, int device, std::uintptr_t stream) {
                   const SearchOutputs<T> out = {at<std::int64_t>(outputs[0]),
                                                 at<float>(outputs[1]),
                                                 at<T>(outputs[2]),
                                                 at<T>(outputs[3]),
                                                 at<T>(outputs[4]),
                                                 at<T>(outputs[5]),
                                                 at<T>(outputs[6])};
                   search<T>(sizes_of(sizes), memory_of<T>(memory), weights_of<T>(weights), options_of(counts, numbers),
                             out, plan_of(plan), at<void>(scratch), {device, stream});
               },
               py::arg("sizes"), py::arg("memory"), py::arg("weights"), py::arg("counts"), py::arg("numbers"),
               py::arg("outputs"), py::arg("plan"), py::arg("scratch"), py::arg("device"), py::arg("stream"),
               py::call_guard<py::gil_scoped_release>());
    module.def(("decode_sample_words_" + suffix).c_str(),
               [](const std::array<int, 10>& sizes, const std::array<Address, 4>& memory,
                  const std::array<Address, 27>& weights, const std::array<int, 5>& counts,
                  const std::array<float, 4>& numbers, const std::array<Address, 4>& inputs,
                  const std::array<std::int64_t, 4>& plan, Address scratch, int device, std::uintptr_t stream) {
                   const SampleInputs<T> in = {at<std::int64_t>(inputs[0]), at<const bool>(inputs[1]),
                                               at<const T>(inputs[2]), at<const T>(inputs[3])};
                   sample_words<T>(sizes_of(sizes), memory_of<T>(memory), weights_of<T>(weights),
                                   options_of(counts, numbers), in, plan_of(plan), at<void>(scratch), {device, stream});
               },
               py::arg("sizes"), py::arg("memory"), py::arg("weights"), py::arg("counts"), py::arg("numbers"),
               py::arg("inputs"), py::arg("plan"), py::arg("scratch"), py::arg("device"), py::arg("stream"),
               py::call_guard<py::gil_scoped_release>());
}

}  // namespace

void bind_decode(py::module_& module) {
    define<float>(module, "float32");
    define<bfloat16>(module, "bfloat16");
}

}  // namespace m2t::cuda
