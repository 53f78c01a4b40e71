// Tiles of linear layers and of their gradients. Included once for each instruction set: see isa.h.
//
// The innermost block holds 6 rows times 4 vectors (2 without AVX-512) of sums in registers and reads a packed panel of
// the weight from the first cache. A bfloat16 step multiplies pairs of neighbouring terms, which lie side by side.
#pragma once

#include "common/vector_math.h"
#include "cpu/linear.h"
#include "cpu/packed_product.h"

namespace m2t {
namespace M2T_ISA {

// How a product of stored type S steps: `Term` is what is broadcast, kPair terms of the sum.
template <typename S>
struct Step {
    using Term = S;
    using Sum = S;
    static constexpr std::int64_t kPair = 1;
    static Vec<S> first(S x) { return x - Vec<S>{}; }
    static Vec<S> add(Vec<S> total, Vec<S> x, Vec<S> row) { return total + x * row; }
    static void store(S* to, Vec<S> v, std::int64_t count) { store_first(to, v, count); }
    static Vec<S> read(const S* from, std::int64_t count) { return load_first(from, count); }
    static Vec<S> tanh(Vec<S> x) { return M2T_ISA::tanh(x); }
};

#if defined(M2T_BFLOAT16)
template <>
struct Step<BFloat16> {
    using Term = std::int32_t;
    using Sum = float;
    static constexpr std::int64_t kPair = 2;
    typedef std::int32_t V __attribute__((vector_size(64)));
    static V first(std::int32_t x) { return x - V{}; }
    static Vec<float> add(Vec<float> total, V x, V row) {
        return reinterpret<Vec<float>>(
            _mm512_dpbf16_ps(reinterpret<__m512>(total), reinterpret<__m512bh>(x), reinterpret<__m512bh>(row)));
    }
    static void store(BFloat16* to, Vec<float> v, std::int64_t count) { store_first(to, v, count); }
    static Vec<float> read(const BFloat16* from, std::int64_t count) { return load_first(from, count); }
    static Vec<float> tanh(Vec<float> x) { return rough_tanh(x); }
};
#endif

template <typename S>
using TermOf = typename Step<S>::Term;
template <typename S>
using LinearSum = typename Step<S>::Sum;

// Terms of a sum in steps: pairs for bfloat16.
template <typename S>
constexpr std::int64_t steps(std::int64_t terms) {
    return (terms + Step<S>::kPair - 1) / Step<S>::kPair;
}

template <typename S>
constexpr std::int64_t linear_width() {
    return kPanelVectors * lanes<LinearSum<S>>();
}

template <typename S>
std::int64_t linear_panels(std::int64_t columns) {
    return (columns + linear_width<S>() - 1) / linear_width<S>();
}

template <typename S>
TermOf<S> term_at(const unsigned char* p) {
    TermOf<S> x;
    std::memcpy(&x, p, sizeof x);
    return x;
}

// c (Rows, width) = a times a tile (count, width), added to what is there if `add`. The term of row i and step k lies
// at a + i * row_bytes + k * step_bytes.
template <typename S, int Rows>
void linear_block(const unsigned char* a, std::int64_t row_bytes, std::int64_t step_bytes, const TermOf<S>* tile,
                  std::int64_t count, LinearSum<S>* c, bool add) {
    using Sum = LinearSum<S>;
    constexpr std::int64_t W = lanes<Sum>();
    constexpr std::int64_t width = kPanelVectors * W;
    Vec<Sum> total[Rows][kPanelVectors] = {};
    for (std::int64_t k = 0; k < count; ++k) {
        decltype(Step<S>::first(TermOf<S>())) row[kPanelVectors];
        for (int v = 0; v < kPanelVectors; ++v) std::memcpy(&row[v], tile + k * width + v * W, sizeof row[v]);
        for (int i = 0; i < Rows; ++i) {
            const auto x = Step<S>::first(term_at<S>(a + i * row_bytes + k * step_bytes));
            for (int v = 0; v < kPanelVectors; ++v) total[i][v] = Step<S>::add(total[i][v], x, row[v]);
        }
    }
    for (int i = 0; i < Rows; ++i) {
        for (int v = 0; v < kPanelVectors; ++v) {
            Sum* p = c + i * width + v * W;
            store(p, add ? load(p) + total[i][v] : total[i][v]);
        }
    }
}

// The same for any number of rows, in blocks of nearly equal size.
template <typename S>
void linear_rows(const unsigned char* a, std::int64_t row_bytes, std::int64_t step_bytes, std::int64_t rows,
                 const TermOf<S>* tile, std::int64_t count, LinearSum<S>* c, bool add) {
    const std::int64_t blocks = (rows + kPanelRows - 1) / kPanelRows;
    for (std::int64_t block = 0; block < blocks; ++block) {
        const std::int64_t first = rows * block / blocks;
        const unsigned char* from = a + first * row_bytes;
        LinearSum<S>* to = c + first * linear_width<S>();
        switch (rows * (block + 1) / blocks - first) {
            case 1: linear_block<S, 1>(from, row_bytes, step_bytes, tile, count, to, add); break;
            case 2: linear_block<S, 2>(from, row_bytes, step_bytes, tile, count, to, add); break;
            case 3: linear_block<S, 3>(from, row_bytes, step_bytes, tile, count, to, add); break;
            case 4: linear_block<S, 4>(from, row_bytes, step_bytes, tile, count, to, add); break;
            case 5: linear_block<S, 5>(from, row_bytes, step_bytes, tile, count, to, add); break;
            default: linear_block<S, 6>(from, row_bytes, step_bytes, tile, count, to, add); break;
        }
    }
}

// One panel of a weight, (steps, width) terms; `at(column, step)` gives what is multiplied in a step, zeros stand
// beyond the last column.
template <typename S, typename At>
void pack_steps(std::int64_t columns, std::int64_t terms, std::int64_t panel, TermOf<S>* to, const At& at) {
    constexpr std::int64_t width = linear_width<S>();
    constexpr std::int64_t some = 16;  // steps of a column that are read together
    const std::int64_t first = panel * width, count = std::min(width, columns - first);
    for (std::int64_t k = 0; k < steps<S>(terms); k += some) {
        const std::int64_t last = std::min(k + some, steps<S>(terms));
        for (std::int64_t j = 0; j < count; ++j) {
            for (std::int64_t i = k; i < last; ++i) to[i * width + j] = at(first + j, i);
        }
        for (std::int64_t i = k; i < last; ++i) std::fill(to + i * width + count, to + (i + 1) * width, TermOf<S>(0));
    }
}

// A step of a row of terms: term `step`, or the pair of them, of which the second may be missing.
template <typename S>
TermOf<S> step_of(const S* row, std::int64_t terms, std::int64_t stride, std::int64_t step) {
    S pieces[Step<S>::kPair] = {};
    for (std::int64_t p = 0; p < Step<S>::kPair; ++p) {
        const std::int64_t k = step * Step<S>::kPair + p;
        if (Step<S>::kPair == 1 || k < terms) pieces[p] = row[k * stride];
    }
    TermOf<S> term;
    std::memcpy(&term, pieces, sizeof term);
    return term;
}

template <typename S>
std::int64_t linear_packed_size(std::int64_t columns, std::int64_t terms) {
    return linear_panels<S>(columns) * linear_width<S>() * steps<S>(terms) * Step<S>::kPair;
}

template <typename S>
void pack_linear(const S* weight, std::int64_t columns, std::int64_t terms, bool transposed, std::int64_t panel,
                 S* packed) {
    TermOf<S>* to = reinterpret_cast<TermOf<S>*>(packed) + panel * linear_width<S>() * steps<S>(terms);
    if (transposed) {
        pack_steps<S>(columns, terms, panel, to,
                      [=](std::int64_t j, std::int64_t i) { return step_of<S>(weight + j, terms, columns, i); });
    } else if (terms % Step<S>::kPair == 0) {  // whole steps lie side by side
        pack_steps<S>(columns, terms, panel, to, [=](std::int64_t j, std::int64_t i) {
            return term_at<S>(reinterpret_cast<const unsigned char*>(weight + j * terms + i * Step<S>::kPair));
        });
    } else {
        pack_steps<S>(columns, terms, panel, to,
                      [=](std::int64_t j, std::int64_t i) { return step_of<S>(weight + j * terms, terms, 1, i); });
    }
}

template <typename S>
void linear_forward(const LinearOutput<S>& out, const RowRange& rows, unsigned char* workspace) {
    using Sum = LinearSum<S>;
    constexpr std::int64_t W = lanes<Sum>(), width = linear_width<S>(), pair = Step<S>::kPair;
    Sum* sums = reinterpret_cast<Sum*>(workspace);  // (kLinearRows, width)
    for (std::int64_t panel = 0; panel < linear_panels<S>(out.columns); ++panel) {
        bool add = false;
        for (int s = 0; s < out.source_count; ++s) {
            const LinearSource<S>& source = out.sources[static_cast<std::size_t>(s)];
            const std::int64_t all_steps = steps<S>(source.terms);
            const TermOf<S>* tiles = reinterpret_cast<const TermOf<S>*>(source.packed) + panel * width * all_steps;
            const std::int64_t row_bytes = source.terms * static_cast<std::int64_t>(sizeof(S));
            const unsigned char* a = reinterpret_cast<const unsigned char*>(source.x) + rows.first * row_bytes;
            constexpr std::int64_t step_bytes = pair * static_cast<std::int64_t>(sizeof(S));
            for (std::int64_t k = 0; k < all_steps; k += kPanelTerms, add = true) {
                linear_rows<S>(a + k * step_bytes, row_bytes, step_bytes, rows.count, tiles + k * width,
                               std::min(kPanelTerms, all_steps - k), sums, add);
            }
        }
        if (!add) std::fill(sums, sums + rows.count * width, Sum(0));  // no terms
        for (int v = 0; v < kPanelVectors; ++v) {
            const std::int64_t column = panel * width + v * W;
            const std::int64_t count = std::min(W, out.columns - column);
            if (count <= 0) break;
            const Vec<Sum> bias = out.bias == nullptr ? Vec<Sum>{} : Step<S>::read(out.bias + column, count);
            for (std::int64_t i = 0; i < rows.count; ++i) {
                Vec<Sum> y = load(sums + i * width + v * W) + bias;
                if (out.tanh) y = Step<S>::tanh(y);
                const std::int64_t to = (rows.first + i) * out.stride + column;
                if (out.wide != nullptr) {
                    store_first(out.wide + to, y, count);
                } else {
                    Step<S>::store(out.y + to, y, count);
                }
            }
        }
    }
}

// What a task of a gradient holds besides its share.
template <typename S>
struct GradientWorkspace {
    TermOf<S>* x;     // (panels, steps, width): rows of x as a packed weight
    TermOf<S>* grad;  // (steps, outputs): bfloat16 only, pairs of rows side by side
    std::size_t bytes;

    GradientWorkspace(const LinearGradient<S>& g, unsigned char* base) {
        Layout layout(base);
        layout.take(x, linear_panels<S>(g.inputs) * linear_width<S>() * steps<S>(kGradientRows));
        layout.take(grad, Step<S>::kPair == 1 ? 0 : kGradientOutputs * steps<S>(kGradientRows));
        bytes = layout.bytes();
    }
};

// Pairs of rows of `from`, `columns` elements `stride` apart, side by side: (steps, columns) terms `to_stride` apart.
template <typename S>
void pair_rows(const S* from, std::int64_t stride, std::int64_t rows, std::int64_t columns, TermOf<S>* to,
               std::int64_t to_stride) {
    constexpr std::int64_t pair = Step<S>::kPair;
    for (std::int64_t k = 0; k < steps<S>(rows); ++k) {
        const S* first = from + k * pair * stride;
        if constexpr (pair == 1) {
            std::copy_n(first, columns, to + k * to_stride);
        } else {
            const bool last_alone = k * pair + 1 >= rows;
            constexpr std::int64_t W = lanes<float>();
            for (std::int64_t j = 0; j < columns; j += W) {
                const std::int64_t some = std::min(W, columns - j);
                const auto low = reinterpret_cast<UnsignedBits<float>>(load_first(first + j, some)) >> 16;
                const auto high = last_alone
                                      ? UnsignedBits<float>{}
                                      : reinterpret_cast<UnsignedBits<float>>(load_first(first + stride + j, some));
                store_first(reinterpret_cast<float*>(to + k * to_stride + j), reinterpret<Vec<float>>(low | high),
                            some);
            }
        }
    }
}

template <typename S>
void linear_gradient(const GradientTask<S, LinearSum<S>>& task, unsigned char* base) {
    using Sum = LinearSum<S>;
    constexpr std::int64_t W = lanes<Sum>(), width = linear_width<S>(), pair = Step<S>::kPair;
    const LinearGradient<S>& g = *task.gradient;
    const GradientWorkspace<S> w(g, base);
    const std::int64_t outputs = task.outputs.count;
    std::fill(task.bias_share, task.bias_share + outputs, Sum(0));
    bool add = false;
    for (const RowRange* rows = task.begin; rows != task.end; ++rows, add = true) {
        const std::int64_t count = steps<S>(rows->count);
        const S* grad = g.grad + rows->first * g.outputs + task.outputs.first;
        // d_bias: a vector of columns at a time, down the rows.
        for (std::int64_t j = 0; j < outputs; j += W) {
            const std::int64_t some = std::min(W, outputs - j);
            Vec<Sum> total = {};
            for (std::int64_t i = 0; i < rows->count; ++i) total += Step<S>::read(grad + i * g.outputs + j, some);
            store_first(task.bias_share + j, load_first(task.bias_share + j, some) + total, some);
        }
        const unsigned char* a = reinterpret_cast<const unsigned char*>(grad);
        std::int64_t step_bytes = g.outputs * static_cast<std::int64_t>(sizeof(S));
        if constexpr (pair > 1) {
            pair_rows<S>(grad, g.outputs, rows->count, outputs, w.grad, outputs);
            a = reinterpret_cast<const unsigned char*>(w.grad);
            step_bytes = outputs * static_cast<std::int64_t>(sizeof(TermOf<S>));
        }
        constexpr std::int64_t row_bytes = static_cast<std::int64_t>(sizeof(TermOf<S>));
        for (std::int64_t panel = 0; panel < linear_panels<S>(g.inputs); ++panel) {
            TermOf<S>* tile = w.x + panel * width * steps<S>(kGradientRows);
            const std::int64_t columns = std::min(width, g.inputs - panel * width);
            if (columns < width) std::fill(tile, tile + count * width, TermOf<S>(0));
            pair_rows<S>(g.x + rows->first * g.inputs + panel * width, g.inputs, rows->count, columns, tile, width);
            linear_rows<S>(a, row_bytes, step_bytes, outputs, tile, count, task.share + panel * width * outputs, add);
        }
    }
    if (!add) std::fill(task.share, task.share + linear_panels<S>(g.inputs) * width * outputs, Sum(0));
}

template <typename S>
void collect_gradient(const LinearGradient<S>& g, const LinearSum<S>* const* shares,
                      const LinearSum<S>* const* bias_shares, std::int64_t count, const RowRange& outputs) {
    using Sum = LinearSum<S>;
    constexpr std::int64_t W = lanes<Sum>(), width = linear_width<S>();
    for (std::int64_t i = 0; i < outputs.count; ++i) {
        Sum bias = 0;
        for (std::int64_t s = 0; s < count; ++s) bias += bias_shares[s][i];
        Step<S>::store(g.d_bias + outputs.first + i, all<Sum>(bias), 1);
        for (std::int64_t j = 0; j < g.inputs; j += W) {
            const std::int64_t at = (j / width * outputs.count + i) * width + j % width;
            Vec<Sum> total = load(shares[0] + at);
            for (std::int64_t s = 1; s < count; ++s) total += load(shares[s] + at);
            Step<S>::store(g.d_weight + (outputs.first + i) * g.inputs + j, total, std::min(W, g.inputs - j));
        }
    }
}

template <typename S>
LinearKernels<S> make_linear_kernels() {
    using Sum = LinearSum<S>;
    return {&linear_packed_size<S>,
            &pack_linear<S>,
            &linear_panels<S>,
            [] { return linear_width<S>(); },
            [] { return static_cast<std::size_t>(kLinearRows * linear_width<S>()) * sizeof(Sum); },
            &linear_forward<S>,
            [](const LinearGradient<S>& g) { return GradientWorkspace<S>(g, nullptr).bytes; },
            &linear_gradient<S>,
            &collect_gradient<S>};
}

#if !defined(M2T_BFLOAT16)
template <typename T>
LinearKernels<T> linear_kernels() {
    return make_linear_kernels<T>();
}

template LinearKernels<float> linear_kernels<float>();
template LinearKernels<double> linear_kernels<double>();
#endif

}  // namespace M2T_ISA
}  // namespace m2t
