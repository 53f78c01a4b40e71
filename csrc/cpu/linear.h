// Linear layers over the valid rows of a batch: y = x W^T + bias or its tanh, and the gradients of x, W and bias.
//
// One call takes all motions, so a layer is one parallel region of large items, and rows beyond a motion's length cost
// nothing. Products sum in float (double for double); bfloat16 is stored between layers and multiplied as it is where
// the processor has AVX512_BF16.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "common/bfloat16.h"
#include "common/isa.h"
#include "common/record.h"

namespace m2t {

// The rows of x and y: `batch` blocks of `frames * per_frame`, of which the first lengths[b] * per_frame are valid.
struct LinearRows {
    M2T_FIELDS(
        std::int64_t batch, frames, per_frame;
        const std::int64_t* lengths;  // (batch), or null: all rows are valid
    )
};

// A layer of linear_forward: y = x W^T + bias, or in `wide` its sums as they are.
template <typename T>
struct LinearLayer {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        const T *x, *weight, *bias;  // (rows, inputs), (outputs, inputs), (outputs) or null
        T* y;                        // (rows, outputs), or null
        Wide* wide;                  // in its place, or null
        std::int64_t inputs, outputs;
    )
};

// A term of linear_input_gradient, which is grad times weight.
template <typename T>
struct LinearTerm {
    M2T_FIELDS(
        const T *grad, *weight;  // (rows, outputs), (outputs, inputs)
        std::int64_t outputs;
    )
};

template <typename T>
struct LinearInputGradient {
    M2T_FIELDS(
        T* d_x;  // (rows, inputs)
        std::int64_t inputs;
    )
};

// Neighbouring rows that are computed together.
struct RowRange {
    std::int64_t first, count;
};

// One term of a sum: x (rows, terms) times a packed weight.
template <typename S>
struct LinearSource {
    const S* x;
    const S* packed;
    std::int64_t terms;
};

// y (rows, columns), its rows `stride` apart: the sum of one or two sources, and what follows it.
template <typename S>
struct LinearOutput {
    std::array<LinearSource<S>, 2> sources;
    int source_count;
    const S* bias;  // (columns), or null
    bool tanh;
    S* y;
    std::int64_t columns, stride;
    WideOf<S>* wide;  // written in place of y, in the type of the sums, or null
};

// The gradient of one weight: d_weight (outputs, inputs) = grad^T x and d_bias (outputs), the sum of grad's rows.
template <typename T>
struct LinearGradient {
    M2T_FIELDS(
        const T *grad, *x;     // (rows, outputs), (rows, inputs)
        T *d_weight, *d_bias;  // (outputs, inputs), (outputs)
        std::int64_t outputs, inputs;
    )
};

// A task of a gradient: some rows of d_weight, from some of the rows of the batch. `share` (padded inputs, rows of
// d_weight) and `bias_share` (rows of d_weight) are in the type that sums have.
template <typename S, typename Sum>
struct GradientTask {
    const LinearGradient<S>* gradient;
    const RowRange *begin, *end;  // of at most kGradientRows rows each
    RowRange outputs;
    Sum *share, *bias_share;
};

// Rows of x that a thread takes at a time; they and their results stay in its second cache.
constexpr std::int64_t kLinearRows = 192;
// Rows of x whose products are summed before they are added to a gradient.
constexpr std::int64_t kGradientRows = 128;
// Rows of d_weight that a task owns at most.
constexpr std::int64_t kGradientOutputs = 256;

template <typename S>
struct LinearKernels {
    using Sum = WideOf<S>;
    // Elements of S that a packed weight takes, and packing: of (columns, terms), or its transpose (terms, columns).
    std::int64_t (*packed_size)(std::int64_t columns, std::int64_t terms);
    void (*pack)(const S* weight, std::int64_t columns, std::int64_t terms, bool transposed, std::int64_t panel,
                 S* packed);
    std::int64_t (*panels)(std::int64_t columns);
    std::int64_t (*panel_width)();
    std::size_t (*forward_workspace)();
    void (*forward)(const LinearOutput<S>& output, const RowRange& rows, unsigned char* workspace);
    std::size_t (*gradient_workspace)(const LinearGradient<S>& gradient);
    void (*gradient)(const GradientTask<S, Sum>& task, unsigned char* workspace);
    // Adds up `count` shares, (panels, outputs, width) each, in order, and writes them as (outputs, inputs).
    void (*collect)(const LinearGradient<S>& gradient, const Sum* const* shares, const Sum* const* bias_shares,
                    std::int64_t count, const RowRange& outputs);
};

M2T_DECLARE_KERNELS(LinearKernels, linear_kernels)

// Whether this processor multiplies bfloat16, and the kernels for it; call them only where it does.
bool has_bfloat16_products();
LinearKernels<BFloat16> bfloat16_linear_kernels();

}  // namespace m2t
