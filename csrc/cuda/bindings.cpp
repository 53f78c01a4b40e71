// The functions of all ops, in one place.
#include "cuda/bindings.h"

namespace m2t::cuda {

void bind_all(pybind11::module_& module) {
    bind_decode(module);
    bind_gate(module);
}

}  // namespace m2t::cuda
