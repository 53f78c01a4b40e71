// Python's way to decoding: addresses as integers, in the order of the tensors in decode.h.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "cpu/decode.h"

namespace py = pybind11;

namespace m2t {
namespace {

using Address = std::uintptr_t;
using Sizes = std::array<std::int64_t, 10>;
using Memory = std::array<Address, 4>;
using Weights = std::array<Address, 21>;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// `numbers`: scale, sigma_min, force_gate.
template <typename T>
DecodeModel<T> model_at(const Sizes& n, const Memory& memory, const Weights& w, const std::array<double, 3>& numbers) {
    DecodeModel<T> m = {};
    m.n = {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9]};
    m.memory = {at<const T>(memory[0]), at<const T>(memory[1]), at<const T>(memory[2]),
                at<const std::int64_t>(memory[3])};
    const auto layer = [&](std::size_t i, std::int64_t columns, std::int64_t terms) {
        return Layer<T>{at<const T>(w[i]), at<const T>(w[i + 1]), columns, terms, nullptr};
    };
    const std::int64_t size = m.n.hidden, dim = m.n.attention_dim;
    m.embedding = at<const T>(w[0]);
    m.bottom = layer(1, 4 * size, m.n.word + size);
    m.top = layer(3, 4 * size, 2 * size);
    m.query = layer(5, 2 * dim, size);
    m.temporal_weight = at<const T>(w[7]);
    m.spatial_weight = at<const T>(w[8]);
    m.spatial_bias = at<const T>(w[9]);
    m.gate_hidden_weight = at<const T>(w[10]);
    m.gate_word_weight = at<const T>(w[11]);
    m.gate_bias = at<const T>(w[12]);
    m.context = layer(13, dim, m.n.part_dim);
    m.language = layer(15, dim, size);
    m.mixture = layer(17, m.n.mixture, m.n.word + dim + size);
    m.output = layer(19, m.n.vocabulary, m.n.mixture);
    m.scale = numbers[0];
    m.sigma_min = numbers[1];
    m.force_gate = numbers[2];
    return m;
}

// `options`: beams, max_length, and the words <pad>, <sos> and <eos>.
template <typename T>
void run_search(const Sizes& n, const Memory& memory, const Weights& weights, const std::array<double, 3>& numbers,
                const std::array<std::int64_t, 5>& options, double length_penalty, const std::array<Address, 7>& o,
                int threads, int isa) {
    const SearchOutputs<T> out = {
        at<std::int64_t>(o[0]), at<T>(o[1]), {at<T>(o[2]), at<T>(o[3]), at<T>(o[4]), at<T>(o[5]), at<T>(o[6])}};
    search<T>(model_at<T>(n, memory, weights, numbers),
              {options[0], options[1], length_penalty, options[2], options[3], options[4]}, out, threads,
              static_cast<InstructionSet>(isa));
}

template <typename T>
void run_sample_words(const Sizes& n, const Memory& memory, const Weights& weights,
                      const std::array<double, 3>& numbers, Address words, Address coins, std::int64_t length,
                      Address input_dropout, Address mixed_dropout, int threads, int isa) {
    sample_words<T>(model_at<T>(n, memory, weights, numbers),
                    {at<std::int64_t>(words), at<const bool>(coins), length, at<const T>(input_dropout),
                     at<const T>(mixed_dropout)},
                    threads, static_cast<InstructionSet>(isa));
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    const auto unlocked = py::call_guard<py::gil_scoped_release>();
    module.def(("decode_search_" + suffix).c_str(), &run_search<T>, py::arg("sizes"), py::arg("memory"),
               py::arg("weights"), py::arg("numbers"), py::arg("options"), py::arg("length_penalty"),
               py::arg("outputs"), py::arg("threads"), py::arg("instruction_set"), unlocked);
    module.def(("decode_sample_words_" + suffix).c_str(), &run_sample_words<T>, py::arg("sizes"), py::arg("memory"),
               py::arg("weights"), py::arg("numbers"), py::arg("words"), py::arg("coins"), py::arg("length"),
               py::arg("input_dropout"), py::arg("mixed_dropout"), py::arg("threads"), py::arg("instruction_set"),
               unlocked);
}

}  // namespace

void bind_decode(py::module_& module) {
    define<float>(module, "float32");
    define<double>(module, "float64");
}

}  // namespace m2t
