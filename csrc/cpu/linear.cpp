// Spreads linear layers and their gradients over threads, and Python's way to them.
#include "cpu/linear.h"

#include <algorithm>
#include <memory>

#include "common/functions.h"
#include "common/huge_pages.h"
#include "common/parallel.h"
#include "common/workspace.h"

namespace m2t {
namespace {

template <typename S>
LinearKernels<S> kernels_for(InstructionSet isa) {
    return linear_kernels<S>(isa);
}
template <>
LinearKernels<BFloat16> kernels_for<BFloat16>(InstructionSet) {
    return bfloat16_linear_kernels();
}

std::int64_t valid_rows(const LinearRows& rows, std::int64_t b) {
    const std::int64_t frames =
        rows.lengths == nullptr ? rows.frames : std::clamp<std::int64_t>(rows.lengths[b], 0, rows.frames);
    return frames * rows.per_frame;
}

// The valid rows in pieces of nearly equal size, at most `most` each, none across motions.
std::vector<RowRange> pieces(const LinearRows& rows, std::int64_t most) {
    std::vector<RowRange> all;
    for (std::int64_t b = 0; b < rows.batch; ++b) {
        const std::int64_t first = b * rows.frames * rows.per_frame, count = valid_rows(rows, b);
        const std::int64_t parts = (count + most - 1) / most;
        for (std::int64_t i = 0; i < parts; ++i) {
            const std::int64_t from = count * i / parts;
            all.push_back({first + from, count * (i + 1) / parts - from});
        }
    }
    return all;
}

// Rows at a time: their terms fit in half of a second cache of 1 MiB.
std::int64_t rows_at_a_time(std::int64_t terms, std::size_t bytes) {
    const std::int64_t fit = (std::int64_t(512) << 10) / std::max<std::int64_t>(1, terms * std::int64_t(bytes));
    return std::clamp<std::int64_t>(fit / 48 * 48, 48, kLinearRows);
}

template <typename S>
void forward(const LinearRows& rows, std::vector<LinearOutput<S>>& outputs, const std::vector<const S*>& weights,
             bool transposed, int threads, InstructionSet isa) {
    const LinearKernels<S> kernel = kernels_for<S>(isa);
    std::vector<std::unique_ptr<Buffer>> packed;
    struct Panel {
        const S* weight;
        std::int64_t columns, terms, panel;
        S* packed;
    };
    std::vector<Panel> panels;
    std::int64_t most = kLinearRows;
    std::size_t w = 0;
    for (LinearOutput<S>& out : outputs) {
        prefer_huge_pages(
            out.y, static_cast<std::size_t>(rows.batch * rows.frames * rows.per_frame * out.columns) * sizeof(S));
        for (int s = 0; s < out.source_count; ++s, ++w) {
            LinearSource<S>& source = out.sources[static_cast<std::size_t>(s)];
            const std::int64_t size = kernel.packed_size(out.columns, source.terms);
            packed.push_back(std::make_unique<Buffer>(static_cast<std::size_t>(size) * sizeof(S)));
            S* to = static_cast<S*>(packed.back()->data());
            source.packed = to;
            for (std::int64_t p = 0; p < kernel.panels(out.columns); ++p) {
                panels.push_back({weights[w], out.columns, source.terms, p, to});
            }
            most = std::min(most, rows_at_a_time(source.terms, sizeof(S)));
        }
    }
    parallel_for_uneven(static_cast<std::int64_t>(panels.size()), threads, [&](std::int64_t i, int) {
        const Panel& p = panels[static_cast<std::size_t>(i)];
        kernel.pack(p.weight, p.columns, p.terms, transposed, p.panel, p.packed);
    });
    const std::vector<RowRange> items = pieces(rows, most);
    const Workspaces workspaces(threads, kernel.forward_workspace());
    const std::int64_t computed = static_cast<std::int64_t>(items.size());
    parallel_for_uneven(computed + rows.batch, threads, [&](std::int64_t i, int thread) {
        for (const LinearOutput<S>& out : outputs) {
            if (i < computed) {
                kernel.forward(out, items[static_cast<std::size_t>(i)], workspaces.of(thread));
            } else {  // padding
                const std::int64_t b = i - computed, all = rows.frames * rows.per_frame;
                const std::int64_t from = (b * all + valid_rows(rows, b)) * out.columns;
                const std::int64_t to = (b + 1) * all * out.columns;
                if (out.wide != nullptr) {
                    std::fill(out.wide + from, out.wide + to, WideOf<S>(0));
                } else {
                    std::fill(out.y + from, out.y + to, S());
                }
            }
        }
    });
}

// How a gradient is cut, by its sizes alone, so that sums are the same on any number of threads: into ranges of rows of
// d_weight, and into slices of the batch's rows, whose shares are added up in order.
struct Cut {
    std::int64_t ranges, slices;

    Cut(std::int64_t outputs, std::int64_t inputs, std::int64_t rows) {
        ranges = (outputs + kGradientOutputs - 1) / kGradientOutputs;
        const std::int64_t room = (std::int64_t(4) << 20) / std::max<std::int64_t>(1, outputs * inputs);
        slices = std::clamp<std::int64_t>(std::min(rows / 1024, room), 1, 16);
    }
};

template <typename S>
void gradients(const LinearRows& rows, const std::vector<LinearGradient<S>>& all, int threads, InstructionSet isa) {
    using Sum = WideOf<S>;
    const LinearKernels<S> kernel = kernels_for<S>(isa);
    const std::vector<RowRange> chunks = pieces(rows, kGradientRows);
    const std::int64_t count = static_cast<std::int64_t>(chunks.size());
    std::vector<GradientTask<S, Sum>> tasks;
    std::vector<std::unique_ptr<Buffer>> shares;
    std::size_t bytes = 0;
    struct Collected {
        const LinearGradient<S>* gradient;
        std::vector<const Sum*> shares, bias_shares;
        RowRange outputs;
    };
    std::vector<Collected> collected;
    for (const LinearGradient<S>& g : all) {
        bytes = std::max(bytes, kernel.gradient_workspace(g));
        const Cut cut(g.outputs, g.inputs, rows.batch * rows.frames * rows.per_frame);
        const std::int64_t size = (kernel.panels(g.inputs) * kernel.panel_width() + 1) * g.outputs;
        shares.push_back(std::make_unique<Buffer>(static_cast<std::size_t>(size * cut.slices + 16) * sizeof(Sum)));
        Sum* next = static_cast<Sum*>(shares.back()->data());
        Sum* next_bias = next + (size - g.outputs) * cut.slices;
        for (std::int64_t r = 0; r < cut.ranges; ++r) {
            const std::int64_t first = g.outputs * r / cut.ranges;
            const RowRange outputs = {first, g.outputs * (r + 1) / cut.ranges - first};
            Collected of_range = {&g, {}, {}, outputs};
            for (std::int64_t s = 0; s < cut.slices; ++s) {
                tasks.push_back({&g, chunks.data() + count * s / cut.slices,
                                 chunks.data() + count * (s + 1) / cut.slices, outputs, next, next_bias});
                of_range.shares.push_back(next);
                of_range.bias_shares.push_back(next_bias);
                next += kernel.panels(g.inputs) * kernel.panel_width() * outputs.count;
                next_bias += outputs.count;
            }
            collected.push_back(of_range);
        }
    }
    const Workspaces workspaces(threads, bytes);
    parallel_for_uneven(static_cast<std::int64_t>(tasks.size()), threads, [&](std::int64_t i, int thread) {
        kernel.gradient(tasks[static_cast<std::size_t>(i)], workspaces.of(thread));
    });
    parallel_for_uneven(static_cast<std::int64_t>(collected.size()), threads, [&](std::int64_t i, int) {
        const Collected& c = collected[static_cast<std::size_t>(i)];
        kernel.collect(*c.gradient, c.shares.data(), c.bias_shares.data(), static_cast<std::int64_t>(c.shares.size()),
                       c.outputs);
    });
}

template <typename S>
void run_forward(const LinearRows& rows, const std::vector<LinearLayer<S>>& layers, bool tanh, int threads,
                 InstructionSet isa) {
    std::vector<LinearOutput<S>> outputs;
    std::vector<const S*> weights;
    for (const LinearLayer<S>& a : layers) {
        outputs.push_back({{{{a.x, nullptr, a.inputs}, {}}}, 1, a.bias, tanh, a.y, a.outputs, a.outputs, a.wide});
        weights.push_back(a.weight);
    }
    forward<S>(rows, outputs, weights, false, threads, isa);
}

// One or two terms.
template <typename S>
void run_input_gradient(const LinearRows& rows, const std::vector<LinearTerm<S>>& terms,
                        const LinearInputGradient<S>& result, int threads, InstructionSet isa) {
    std::vector<LinearOutput<S>> out = {
        {{}, static_cast<int>(terms.size()), nullptr, false, result.d_x, result.inputs, result.inputs, nullptr}};
    std::vector<const S*> weights;
    for (std::size_t i = 0; i < terms.size(); ++i) {
        out[0].sources.at(i) = {terms[i].grad, nullptr, terms[i].outputs};
        weights.push_back(terms[i].weight);
    }
    forward<S>(rows, out, weights, true, threads, isa);
}

template <typename S>
void define(Functions& to) {
    to.function<S>("linear_forward", run_forward<S>, {"rows", "layers", "tanh", "threads", "instruction_set"});
    to.function<S>("linear_input_gradient", run_input_gradient<S>,
                   {"rows", "terms", "result", "threads", "instruction_set"});
    to.function<S>("linear_weight_gradient", gradients<S>, {"rows", "layers", "threads", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
    define<BFloat16>(to);
    to.function("has_bfloat16_products", has_bfloat16_products, {});
});

}  // namespace

}  // namespace m2t
