// Spreads the draws of a step over threads, and Python's way to them.
#include "cpu/draws.h"

#include "common/functions.h"
#include "common/parallel.h"

namespace m2t {
namespace {

template <typename T>
void run(const DrawsSizes& sizes, const DrawsInputs& in, const DrawsOutputs<T>& out, int threads, InstructionSet isa) {
    const std::int64_t words = sizes.words, channels = sizes.channels;
    const DrawsState state = {static_cast<std::uint64_t>(in.state[0]), static_cast<std::uint32_t>(in.state[1])};
    const DrawsKernels<T> kernel = draws_kernels<T>(isa);
    kernel.coins(state, words, in.coin_threshold, reinterpret_cast<std::uint8_t*>(out.coins));
    parallel_for(channels == 0 ? 0 : sizes.batch, threads, [&](std::int64_t b) {
        const auto row = static_cast<std::uint32_t>(in.rows == nullptr ? b : in.rows[b]);
        for (std::int64_t l = 0; l < words; ++l) {
            const auto word = static_cast<std::uint32_t>(l);
            const std::int64_t place = (b * words + l) * channels;
            const T value = static_cast<T>(in.factor);
            kernel.factors(state, kInput, word, row, in.keep_threshold, value, channels, out.first + place);
            kernel.factors(state, kMixed, word, row, in.keep_threshold, value, channels, out.second + place);
        }
    });
}

template <typename T>
void define(Functions& to) {
    to.function<T>("random_draws", run<T>, {"sizes", "inputs", "outputs", "threads", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
});

}  // namespace

}  // namespace m2t
