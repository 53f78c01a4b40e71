// Spreads the cross entropy over threads, and Python's way to it.
#include "cpu/cross_entropy.h"

#include <algorithm>
#include <string>

#include "common/functions.h"
#include "common/parallel.h"

namespace m2t {
namespace {

// Rows that a thread takes at a time.
constexpr std::int64_t kRows = 16;

template <typename T>
void run(const CrossEntropy<T>& task, int threads, InstructionSet isa) {
    const CrossEntropyKernels<T> kernel = cross_entropy_kernels<T>(isa);
    parallel_for((task.rows + kRows - 1) / kRows, threads,
                 [&](std::int64_t i) { kernel.rows(task, i * kRows, std::min(task.rows, (i + 1) * kRows)); });
}

template <typename T>
void define(Functions& to) {
    to.function<T>("cross_entropy", run<T>, {"task", "threads", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
});

}  // namespace

}  // namespace m2t
