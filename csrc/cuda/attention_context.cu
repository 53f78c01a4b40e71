// Eq. 8: the context, a weighted sum over the frames and parts that count; padding is never read.
#include "cuda/attention_common.h"

namespace m2t::cuda {
namespace {

constexpr int kColumns = 64, kGroups = 4, kThreads = kColumns * kGroups;
constexpr int kWords = 8;   // a thread's sums
constexpr int kSlice = 64;  // rows, each a frame's part, whose weights lie in shared memory

M2T_ANYWHERE std::int64_t word_tiles(const AttentionSizes& n) { return ceiling(n.words, kWords); }

// Block (word tile of one motion, columns of H): a thread adds every kGroups-th row to kWords words of one column.
template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, kArchitecture >= 1200 ? 2 : 3)
    attention_context_kernel(const ContextParameters<T> in) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t tiles = word_tiles(n);
    const std::int64_t b = blockIdx.x / tiles, first_word = blockIdx.x % tiles * kWords;
    const int words = static_cast<int>(smaller(kWords, n.words - first_word));
    const int column = static_cast<int>(threadIdx.x) % kColumns, group = static_cast<int>(threadIdx.x) / kColumns;
    const std::int64_t h = static_cast<std::int64_t>(blockIdx.y) * kColumns + column;
    const WordStats* stats = in.stats + b * n.words + first_word;
    std::int64_t begin = stats[0].begin, end = stats[0].end;
    for (int j = 1; j < words; ++j) {
        begin = smaller(begin, stats[j].begin);
        end = end < stats[j].end ? stats[j].end : end;
    }
    begin *= n.parts, end *= n.parts;
    const std::int64_t step = n.frames * n.parts;
    const T* parts = in.parts + b * step * n.part_dim + h;
    const float* weights = in.weights + (b * n.words + first_word) * step;
    auto* slice = shared_memory<float>();  // (kSlice, kWords)

    float sums[kWords] = {};
    for (std::int64_t first = begin; first < end; first += kSlice) {
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < kSlice * kWords; i += kThreads) {
            const int j = i / kSlice, row = i % kSlice;
            slice[row * kWords + j] = j < words && first + row < end ? weights[j * step + first + row] : 0.0f;
        }
        __syncthreads();
        if (h >= n.part_dim) continue;
        M2T_UNROLL_BY(4)
        for (int row = group; row < kSlice; row += kGroups) {
            const float x = first + row < end ? to_float(parts[(first + row) * n.part_dim]) : 0.0f;
            M2T_UNROLL
            for (int j = 0; j < kWords; j += 4) {
                const Vec4 w = load_vec4(slice + row * kWords + j);
                M2T_UNROLL
                for (int i = 0; i < 4; ++i) sums[j + i] = fmaf(w.x[i], x, sums[j + i]);
            }
        }
    }

    // The groups' sums: (kGroups, kWords, kColumns).
    __syncthreads();
    M2T_UNROLL
    for (int j = 0; j < kWords; ++j) slice[(group * kWords + j) * kColumns + column] = sums[j];
    __syncthreads();
    if (h >= n.part_dim) return;
    for (int j = group; j < words; j += kGroups) {
        float total = 0.0f;
        for (int g = 0; g < kGroups; ++g) total += slice[(g * kWords + j) * kColumns + column];
        in.context[(b * n.words + first_word + j) * n.part_dim + h] = from_float<T>(total);
    }
}

}  // namespace

template <typename T>
void attention_context(const ContextParameters<T>& in, const Place& place) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t blocks = n.batch * word_tiles(n);
    if (blocks * n.part_dim == 0) return;
    launch(attention_context_kernel<T>,
           {static_cast<unsigned>(blocks), static_cast<unsigned>(ceiling(n.part_dim, kColumns)), 1, kThreads,
            kGroups * kWords * kColumns * sizeof(float)},
           place, in);
}

template void attention_context(const ContextParameters<float>&, const Place&);
template void attention_context(const ContextParameters<bfloat16>&, const Place&);

}  // namespace m2t::cuda
