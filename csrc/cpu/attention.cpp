// Spreads attention over threads, in the fastest instruction set or a given one.
#include "cpu/attention.h"

#include <vector>

#include "common/huge_pages.h"
#include "common/parallel.h"
#include "common/sum_rows.h"
#include "common/workspace.h"
#include "cpu/word_chunks.h"

namespace m2t {
namespace {

template <typename T>
std::size_t bytes_of(std::int64_t elements) {
    return static_cast<std::size_t>(elements) * sizeof(T);
}

}  // namespace

template <typename T>
void attention_forward(const AttentionSizes& sizes, const AttentionInputs<T>& in, const AttentionOutputs<T>& out,
                       int threads, InstructionSet isa) {
    const WordChunks cut(sizes.batch, sizes.words, threads);
    const std::int64_t words = cut.words, chunks = cut.chunks;
    const AttentionKernels<T> kernel = attention_kernels<T>(isa);
    const Workspaces workspaces(threads, kernel.workspace(sizes, std::min(words, sizes.words), false));
    const std::int64_t weights = sizes.batch * sizes.words * sizes.frames;
    prefer_huge_pages(out.window, bytes_of<WideOf<T>>(weights));
    prefer_huge_pages(out.spatial, bytes_of<WideOf<T>>(weights * sizes.parts));
    parallel_for_uneven(sizes.batch * chunks, threads, [&](std::int64_t item, int thread) {
        const std::int64_t first = item % chunks * words;
        kernel.forward(sizes, in, out, item / chunks, first, std::min(first + words, sizes.words),
                       workspaces.of(thread));
    });
}

template <typename T>
void attention_backward(const AttentionSizes& sizes, const AttentionInputs<T>& in, const AttentionKept<T>& kept,
                        const AttentionOutputGrads<T>& grads, const AttentionInputGrads<T>& out, int threads,
                        InstructionSet isa) {
    const std::int64_t dim = sizes.attention_dim;
    const std::int64_t rows = sizes.rows();
    // Each motion leaves its share of the gradients that are summed over motions; they are added up in order below.
    std::vector<WideOf<T>> temporal_weight(static_cast<std::size_t>(sizes.batch * dim));
    std::vector<WideOf<T>> spatial_weight(static_cast<std::size_t>(sizes.batch * rows * dim));
    std::vector<WideOf<T>> spatial_bias(static_cast<std::size_t>(sizes.batch * rows));
    AttentionInputGrads<T> shares = out;
    shares.temporal_weight = temporal_weight.data();
    shares.spatial_weight = spatial_weight.data();
    shares.spatial_bias = spatial_bias.data();
    const AttentionKernels<T> kernel = attention_kernels<T>(isa);
    const Workspaces workspaces(threads, kernel.workspace(sizes, sizes.words, true));
    const std::int64_t frames = sizes.batch * sizes.frames;
    prefer_huge_pages(out.parts, bytes_of<T>(frames * sizes.parts * sizes.part_dim));
    prefer_huge_pages(out.temporal_keys, bytes_of<T>(frames * sizes.slots * dim));
    prefer_huge_pages(out.spatial_keys, bytes_of<T>(frames * sizes.slots * dim));
    parallel_for_uneven(sizes.batch, threads, [&](std::int64_t b, int thread) {
        kernel.backward(sizes, in, kept, grads, shares, b, workspaces.of(thread));
    });
    sum_rows(temporal_weight.data(), sizes.batch, dim, out.temporal_weight);
    sum_rows(spatial_weight.data(), sizes.batch, rows * dim, out.spatial_weight);
    sum_rows(spatial_bias.data(), sizes.batch, rows, out.spatial_bias);
}

#define M2T_INSTANTIATE(T)                                                                                           \
    template void attention_forward<T>(const AttentionSizes&, const AttentionInputs<T>&, const AttentionOutputs<T>&, \
                                       int, InstructionSet);                                                         \
    template void attention_backward<T>(const AttentionSizes&, const AttentionInputs<T>&, const AttentionKept<T>&,   \
                                        const AttentionOutputGrads<T>&, const AttentionInputGrads<T>&, int,          \
                                        InstructionSet);
M2T_INSTANTIATE(float)
M2T_INSTANTIATE(double)
M2T_INSTANTIATE(BFloat16)
#undef M2T_INSTANTIATE

}  // namespace m2t
