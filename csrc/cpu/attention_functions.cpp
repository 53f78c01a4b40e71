// Python's way to attention.
#include "common/functions.h"
#include "cpu/attention.h"

namespace m2t {
namespace {

template <typename T>
void define(Functions& to) {
    to.function<T>("attention_forward", attention_forward<T>,
                   {"sizes", "inputs", "outputs", "threads", "instruction_set"});
    to.function<T>("attention_backward", attention_backward<T>,
                   {"sizes", "inputs", "kept", "grads", "outputs", "threads", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
    define<BFloat16>(to);
});

}  // namespace

}  // namespace m2t
