// Kernels of the products of a gradient that has few rows.
#include "cuda/few_rows_gradients.h"

#include "cuda/few_rows.h"

namespace m2t::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kTile = 256;    // columns J of the gradient in shared memory at a time
constexpr int kColumnsOfWarp = 4;  // columns J of a warp in an outer product

template <typename T>
M2T_DEVICE float value(const GradientRows<T>& rows, std::int64_t row, std::int64_t column) {
    if (rows.d == nullptr) return 0.0f;
    const std::int64_t i = row * rows.columns + column;
    const float d = to_float(rows.d[i]);
    if (rows.tanh == nullptr) return d;
    const float y = to_float(rows.tanh[i]);
    return d * (1.0f - y * y);
}

// A block makes 32 columns of kFewRows rows of out. Its warps share the rows of the weight, each read along the lanes;
// a weight meets all rows of the gradient, which lie beside one another in shared memory.
template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1) rows_products_kernel(RowsProducts<T> p) {
    const RowsProduct<T>& job = p.jobs[blockIdx.z];
    if (static_cast<std::int64_t>(blockIdx.x) * kWarp >= job.columns) return;
    const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kFewRows;
    const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kWarp + lane;
    const bool inside = column < job.columns;
    float* const tile = shared_memory<float>();      // (kTile, kFewRows)
    float* const partial = tile + kTile * kFewRows;  // (kWarps, kFewRows, 32)
    float sums[kFewRows] = {};
    for (std::int64_t start = 0; start < job.rows.columns; start += kTile) {
        const std::int64_t left = job.rows.columns - start;
        const unsigned length = left < kTile ? static_cast<unsigned>(left) : kTile;
        __syncthreads();
        for (int r = 0; r < kFewRows; ++r) {
            if (threadIdx.x < length) {
                tile[threadIdx.x * kFewRows + static_cast<unsigned>(r)] =
                    first + r < p.rows ? value(job.rows, first + r, start + threadIdx.x) : 0.0f;
            }
        }
        __syncthreads();
        if (!inside) continue;
        const T* weight = job.weight + start * job.columns + column;
        M2T_UNROLL_BY(4)
        for (unsigned j = warp; j < length; j += kWarps) {
            const float w = to_float(weight[j * job.columns]);
            M2T_UNROLL
            for (int half = 0; half < kFewRows / 4; ++half) {
                const Vec4 d = load_vec4(tile + j * kFewRows + 4 * half);
                M2T_UNROLL
                for (int i = 0; i < 4; ++i) sums[4 * half + i] = fmaf(w, d.x[i], sums[4 * half + i]);
            }
        }
    }
    M2T_UNROLL
    for (int r = 0; r < kFewRows; ++r) partial[(warp * kFewRows + r) * kWarp + lane] = sums[r];
    __syncthreads();
    for (unsigned r = warp; r < kFewRows; r += kWarps) {
        if (!inside || first + r >= p.rows) continue;
        const std::int64_t place = (first + r) * job.columns + column;
        float sum = job.add == nullptr ? 0.0f : to_float(job.add[place]);
        for (unsigned w = 0; w < kWarps; ++w) sum += partial[(w * kFewRows + r) * kWarp + lane];
        job.out[place] = from_float<T>(sum);
    }
}

// A warp makes kColumnsOfWarp rows of the weight's gradient, 32 columns of each; what it writes outweighs what it
// reads.
template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1) outer_products_kernel(OuterProducts<T> p) {
    const OuterProduct<T>& job = p.jobs[blockIdx.z];
    const std::int64_t across = job.columns > 0 ? (job.columns + kWarp - 1) / kWarp : 1;
    const std::int64_t down = blockIdx.x / across;
    const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const std::int64_t j = (down * kWarps + warp) * kColumnsOfWarp;
    const std::int64_t k = (blockIdx.x % across) * kWarp + lane;
    if (j >= job.rows.columns) return;
    float sums[kColumnsOfWarp] = {}, totals[kColumnsOfWarp] = {};
    for (std::int64_t row = 0; row < p.rows; ++row) {
        const float x = k < job.columns ? to_float(job.x[row * job.columns + k]) : 0.0f;
        M2T_UNROLL
        for (int c = 0; c < kColumnsOfWarp; ++c) {
            const float d = j + c < job.rows.columns ? value(job.rows, row, j + c) : 0.0f;
            sums[c] = fmaf(d, x, sums[c]);
            totals[c] += d;
        }
    }
    M2T_UNROLL
    for (int c = 0; c < kColumnsOfWarp; ++c) {
        if (j + c >= job.rows.columns) continue;
        if (k < job.columns) job.d_weight[(j + c) * job.columns + k] = from_float<T>(sums[c]);
        if (k == 0 && job.d_bias != nullptr) job.d_bias[j + c] = from_float<T>(totals[c]);
    }
}

std::int64_t pieces(std::int64_t count, std::int64_t of) { return (count + of - 1) / of; }

}  // namespace

template <typename T>
void rows_products(const RowsProducts<T>& p, const Place& place) {
    std::int64_t blocks = 0;
    for (int i = 0; i < p.count; ++i) {
        const std::int64_t n = pieces(p.jobs[i].columns, kWarp);
        blocks = n > blocks ? n : blocks;
    }
    if (p.rows == 0 || blocks == 0) return;
    const std::size_t shared = (kTile + kThreads) * kFewRows * sizeof(float);
    launch(rows_products_kernel<T>,
           {static_cast<unsigned>(blocks), static_cast<unsigned>(pieces(p.rows, kFewRows)),
            static_cast<unsigned>(p.count), kThreads, shared},
           place, p);
}

template <typename T>
void outer_products(const OuterProducts<T>& p, const Place& place) {
    std::int64_t blocks = 0;
    for (int i = 0; i < p.count; ++i) {
        const auto& job = p.jobs[i];
        const std::int64_t across = job.columns > 0 ? pieces(job.columns, kWarp) : 1;  // one for the sums of the rows
        const std::int64_t n = across * pieces(job.rows.columns, kWarps * kColumnsOfWarp);
        blocks = n > blocks ? n : blocks;
    }
    if (blocks == 0) return;
    launch(outer_products_kernel<T>, {static_cast<unsigned>(blocks), 1, static_cast<unsigned>(p.count), kThreads, 0},
           place, p);
}

template void rows_products(const RowsProducts<float>&, const Place&);
template void rows_products(const RowsProducts<bfloat16>&, const Place&);
template void outer_products(const OuterProducts<float>&, const Place&);
template void outer_products(const OuterProducts<bfloat16>&, const Place&);

}  // namespace m2t::cuda
