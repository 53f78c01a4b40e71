// Spreads additive attention over threads, and Python's way to it.
#include "cpu/additive.h"

#include <vector>

#include "common/bindings.h"
#include "common/parallel.h"
#include "common/workspace.h"

namespace m2t {

template <typename T>
void additive_weights(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, const AdditiveWeights<T>& out,
                      int threads, InstructionSet isa) {
    // All queries of a sequence at once read its keys once. With few sequences, several threads share one.
    const std::int64_t wanted = 4 * static_cast<std::int64_t>(std::max(threads, 1));
    const std::int64_t cuts = sizes.batch >= wanted || sizes.batch == 0 ? 1 : (wanted + sizes.batch - 1) / sizes.batch;
    const std::int64_t words = std::max<std::int64_t>(4, ((sizes.words + cuts - 1) / cuts + 3) / 4 * 4);
    const std::int64_t chunks = (sizes.words + words - 1) / words;
    const AdditiveKernels<T> kernel = additive_kernels<T>(isa);
    const Workspaces workspaces(threads, kernel.workspace(sizes, std::min(words, sizes.words), false));
    parallel_for_uneven(sizes.batch * chunks, threads, [&](std::int64_t item, int thread) {
        const std::int64_t first = item % chunks * words;
        kernel.weights(sizes, in, out.weights, item / chunks, first, std::min(first + words, sizes.words),
                       workspaces.of(thread));
    });
}

template <typename T>
void additive_gradient(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, const AdditiveScoreGrads<T>& grads,
                       const AdditiveGrads<T>& out, int threads, InstructionSet isa) {
    // Each sequence leaves its share of the weight's gradient; they are added up in order.
    std::vector<T> shares(static_cast<std::size_t>(sizes.batch * sizes.dim));
    const AdditiveKernels<T> kernel = additive_kernels<T>(isa);
    const Workspaces workspaces(threads, kernel.workspace(sizes, sizes.words, true));
    parallel_for_uneven(sizes.batch, threads, [&](std::int64_t b, int thread) {
        kernel.gradient(sizes, in, grads.scores, {out.query, out.keys, shares.data()}, b, workspaces.of(thread));
    });
    for (std::int64_t d = 0; d < sizes.dim; ++d) {
        double total = 0;
        for (std::int64_t b = 0; b < sizes.batch; ++b) total += shares[static_cast<std::size_t>(b * sizes.dim + d)];
        out.weight[d] = static_cast<T>(total);
    }
}

namespace {

template <typename T>
void define(Bindings& to) {
    to.function<T>("additive_weights", additive_weights<T>,
                   {"sizes", "inputs", "outputs", "threads", "instruction_set"});
    to.function<T>("additive_gradient", additive_gradient<T>,
                   {"sizes", "inputs", "grads", "outputs", "threads", "instruction_set"});
}

}  // namespace

void bind_additive(Bindings& to) {
    define<float>(to);
    define<double>(to);
}

}  // namespace m2t
