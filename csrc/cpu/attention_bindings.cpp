// Python's way to attention.
#include "common/bindings.h"
#include "cpu/attention.h"

namespace m2t {
namespace {

template <typename T>
void define(Bindings& to) {
    to.function<T>("attention_forward", attention_forward<T>,
                   {"sizes", "inputs", "outputs", "threads", "instruction_set"});
    to.function<T>("attention_backward", attention_backward<T>,
                   {"sizes", "inputs", "kept", "grads", "outputs", "threads", "instruction_set"});
}

}  // namespace

void bind_attention(Bindings& to) {
    define<float>(to);
    define<double>(to);
    define<BFloat16>(to);
}

}  // namespace m2t
