// Python's way to the CUDA kernels: what each op's file adds to the module.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>

#include "cuda/place.h"

namespace m2t::cuda {

using Address = std::uintptr_t;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// Adds the functions of all ops, each as NAME_float32 and NAME_bfloat16.
void bind_all(pybind11::module_& module);

void bind_attention(pybind11::module_& module);
void bind_decode(pybind11::module_& module);
void bind_gate(pybind11::module_& module);
void bind_few_rows_gradients(pybind11::module_& module);
void bind_lstm(pybind11::module_& module);

}  // namespace m2t::cuda
