// The functions of all ops, in one place.
#include "cuda/bindings.h"

namespace m2t::cuda {

void bind_all(pybind11::module_& module) {
    bind_attention(module);
    bind_decode(module);
    bind_gate(module);
    bind_few_rows_gradients(module);
    bind_lstm(module);
}

}  // namespace m2t::cuda
