// Python's way to the bare loops.
#include "cpu/rates.h"

#include "common/functions.h"

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
void define(Functions& to) {
    to.function<T>("multiply_adds", run_multiply_adds<T>, {"count", "instruction_set"});
    to.function<T>("tanh_sums", run_tanh_sums<T>, {"count", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
});

}  // namespace

}  // namespace m2t
