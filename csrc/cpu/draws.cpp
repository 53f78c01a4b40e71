// Spreads the draws of a step over threads, and Python's way to them.
#include "cpu/draws.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "common/parallel.h"

namespace py = pybind11;

namespace m2t {
namespace {

using Address = std::uintptr_t;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// sizes: batch, words, channels. state: seed and step. rows: (batch), or null for 0, 1, ... Outputs: coins (words),
// and the factors of the input's and the mixture's embeddings, (batch, words, channels) each.
template <typename T>
void run(const std::array<std::int64_t, 3>& sizes, Address state_at, Address rows_at, std::uint64_t coin_threshold,
         std::uint64_t keep_threshold, double factor, const std::array<Address, 3>& outputs, int threads, int isa) {
    const auto [batch, words, channels] = sizes;
    const std::int64_t *seed_and_step = at<const std::int64_t>(state_at), *rows = at<const std::int64_t>(rows_at);
    const DrawsState state = {static_cast<std::uint64_t>(seed_and_step[0]),
                              static_cast<std::uint32_t>(seed_and_step[1])};
    const DrawsKernels<T> kernel = draws_kernels<T>(static_cast<InstructionSet>(isa));
    kernel.coins(state, words, coin_threshold, at<std::uint8_t>(outputs[0]));
    T *first = at<T>(outputs[1]), *second = at<T>(outputs[2]);
    parallel_for(channels == 0 ? 0 : batch, threads, [&, words = words, channels = channels](std::int64_t b) {
        const auto row = static_cast<std::uint32_t>(rows == nullptr ? b : rows[b]);
        for (std::int64_t l = 0; l < words; ++l) {
            const auto word = static_cast<std::uint32_t>(l);
            const std::int64_t place = (b * words + l) * channels;
            const T value = static_cast<T>(factor);
            kernel.factors(state, kInput, word, row, keep_threshold, value, channels, first + place);
            kernel.factors(state, kMixed, word, row, keep_threshold, value, channels, second + place);
        }
    });
}

template <typename T>
void define(py::module_& module, const char* name) {
    module.def(name, &run<T>, py::arg("sizes"), py::arg("state"), py::arg("rows"), py::arg("coin_threshold"),
               py::arg("keep_threshold"), py::arg("factor"), py::arg("outputs"), py::arg("threads"),
               py::arg("instruction_set"), py::call_guard<py::gil_scoped_release>());
}

}  // namespace

void bind_draws(py::module_& module) {
    define<float>(module, "random_draws_float32");
    define<double>(module, "random_draws_float64");
}

}  // namespace m2t
