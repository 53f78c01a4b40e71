// Spreads the gated step over threads, and Python's way to it.
#include "cpu/gate.h"

#include "common/functions.h"
#include "common/parallel.h"

namespace m2t {
namespace {

// Words that a thread takes at a time.
constexpr std::int64_t kRows = 16;

// body(first, last) over [0, count) in pieces of `step`.
template <typename Body>
void in_pieces(std::int64_t count, std::int64_t step, int threads, const Body& body) {
    parallel_for((count + step - 1) / step, threads,
                 [&](std::int64_t i) { body(i * step, std::min((i + 1) * step, count)); });
}

template <typename T>
void run_forward(const GateSizes& sizes, const GateInputs<T>& in, const GateForward<T>& out, int threads,
                 InstructionSet isa) {
    const GateKernels<T> kernel = gate_kernels<T>(isa);
    in_pieces(sizes.rows, kRows, threads,
              [&](std::int64_t first, std::int64_t last) { kernel.forward(sizes, in, out, first, last); });
}

template <typename T>
void run_backward(const GateSizes& sizes, const GateInputs<T>& in, const GateBackward<T>& out, int threads,
                  InstructionSet isa) {
    const GateKernels<T> kernel = gate_kernels<T>(isa);
    in_pieces(sizes.rows, kRows, threads,
              [&](std::int64_t first, std::int64_t last) { kernel.backward(sizes, in, out, first, last); });
}

// x = tanh(x + bias), in place.
template <typename T>
struct BiasTanh {
    M2T_FIELDS(
        T* x;           // (rows, columns)
        const T* bias;  // (columns)
        std::int64_t rows, columns;
    )
};

template <typename T>
void run_bias_tanh(const BiasTanh<T>& task, int threads, InstructionSet isa) {
    const GateKernels<T> kernel = gate_kernels<T>(isa);
    in_pieces(task.rows, kRows, threads, [&](std::int64_t first, std::int64_t last) {
        kernel.bias_tanh(task.x, task.bias, task.columns, first, last);
    });
}

template <typename T>
void run_tanh_gradient(const TanhGradient<T>& task, int threads, InstructionSet isa) {
    const GateKernels<T> kernel = gate_kernels<T>(isa);
    in_pieces(task.count, 1 << 14, threads, [&](std::int64_t first, std::int64_t last) {
        kernel.tanh_gradient(task.grad, task.y, task.out, first, last);
    });
}

template <typename T>
void define(Functions& to) {
    to.function<T>("gate_forward", run_forward<T>, {"sizes", "inputs", "outputs", "threads", "instruction_set"});
    to.function<T>("gate_backward", run_backward<T>, {"sizes", "inputs", "outputs", "threads", "instruction_set"});
    to.function<T>("bias_tanh", run_bias_tanh<T>, {"task", "threads", "instruction_set"});
    to.function<T>("tanh_gradient", run_tanh_gradient<T>, {"task", "threads", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
});

}  // namespace

}  // namespace m2t
