// Spreads additive attention over threads, and Python's way to it.
#include "cpu/additive.h"

#include <vector>

#include "common/functions.h"
#include "common/parallel.h"
#include "common/sum_rows.h"
#include "common/workspace.h"
#include "cpu/word_chunks.h"

namespace m2t {

template <typename T>
void additive_weights(const AdditiveSizes& sizes, const AdditiveInputs<T>& in, const AdditiveWeights<T>& out,
                      int threads, InstructionSet isa) {
    const WordChunks cut(sizes.batch, sizes.words, threads);
    const std::int64_t words = cut.words, chunks = cut.chunks;
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
    sum_rows(shares.data(), sizes.batch, sizes.dim, out.weight);
}

namespace {

template <typename T>
void define(Functions& to) {
    to.function<T>("additive_weights", additive_weights<T>,
                   {"sizes", "inputs", "outputs", "threads", "instruction_set"});
    to.function<T>("additive_gradient", additive_gradient<T>,
                   {"sizes", "inputs", "grads", "outputs", "threads", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
});

}  // namespace

}  // namespace m2t
