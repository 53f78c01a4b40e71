// Python's way to the bare loops.
#include "cpu/rates.h"

#include "common/bindings.h"

namespace m2t {
namespace {

template <typename T>
std::int64_t run_multiply_adds(std::int64_t count, InstructionSet isa) {
    T sink;
    return rate_kernels<T>(isa).multiply_adds(count, &sink);
}

template <typename T>
std::int64_t run_tanh_sums(std::int64_t count, InstructionSet isa) {
    T sink;
    return rate_kernels<T>(isa).tanh_sums(count, &sink);
}

template <typename T>
void define(Bindings& to) {
    to.function<T>("multiply_adds", run_multiply_adds<T>, {"count", "instruction_set"});
    to.function<T>("tanh_sums", run_tanh_sums<T>, {"count", "instruction_set"});
}

}  // namespace

void bind_rates(Bindings& to) {
    define<float>(to);
    define<double>(to);
}

}  // namespace m2t
