// The Python face of the kernels: m2t_fast._native.
//
// Knows nothing of torch: a tensor arrives as the address of its first element, its sizes in bytes or elements, and
// (for kernels that run on a device) a stream, all as plain integers. So one build serves every torch version, and
// building needs only pybind11. Nothing is checked here; m2t_fast/native.py checks every argument before it calls.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>

#include "common/buffer_pool.h"
#include "common/build_info.h"
#include "cpu/additive.h"
#include "cpu/attention.h"
#include "cpu/cross_entropy.h"
#include "cpu/decode.h"
#include "cpu/draws.h"
#include "cpu/encoder.h"
#include "cpu/gate.h"
#include "cpu/gather.h"
#include "cpu/linear.h"
#include "cpu/pack_ragged.h"
#include "cpu/rates.h"
#include "cpu/spatial_loss.h"
#if defined(M2T_CUDA_TARGETS)
#include "cuda/bindings.h"
#endif

namespace py = pybind11;

namespace {

using Address = std::uintptr_t;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

void pack_ragged(Address values, Address offsets, Address index, std::int64_t count, std::int64_t width,
                 std::int64_t row_bytes, Address fill, std::int64_t item_bytes, Address out, int threads) {
    m2t::pack_ragged(at<const unsigned char>(values), at<const std::int64_t>(offsets), at<const std::int64_t>(index),
                     count, width, row_bytes, at<const unsigned char>(fill), item_bytes, at<unsigned char>(out),
                     threads);
}

py::dict build_info() {
    py::dict info;
    info["compiler"] = m2t::compiler_version();
    info["openmp"] = m2t::built_with_openmp();
    info["cpu"] = m2t::cpu_features();
#if defined(M2T_CUDA_TARGETS)
    info["cuda"] = M2T_CUDA_RELEASE;
    info["cuda_targets"] = M2T_CUDA_TARGETS;
#endif
    return info;
}

}  // namespace

PYBIND11_MODULE(_native, module, py::mod_gil_not_used()) {
    module.doc() = "Native kernels on raw addresses; call them through m2t_fast.native, which checks the arguments.";
    module.attr("INTERFACE") = 10;  // counts changes of what follows; m2t_fast/ops/cpu/launch.py must agree
    module.def("build_info", &build_info);
    module.def("pack_ragged", &pack_ragged, py::arg("values"), py::arg("offsets"), py::arg("index"), py::arg("count"),
               py::arg("width"), py::arg("row_bytes"), py::arg("fill"), py::arg("item_bytes"), py::arg("out"),
               py::arg("threads"), py::call_guard<py::gil_scoped_release>());
    m2t::bind_buffer_pool(module);
    m2t::bind_additive(module);
    m2t::bind_attention(module);
    m2t::bind_cross_entropy(module);
    m2t::bind_decode(module);
    m2t::bind_draws(module);
    m2t::bind_encoder(module);
    m2t::bind_gate(module);
    m2t::bind_gather(module);
    m2t::bind_linear(module);
    m2t::bind_rates(module);
    m2t::bind_spatial_loss(module);
#if defined(M2T_CUDA_TARGETS)
    py::module_ cuda = module.def_submodule("cuda", "Kernels for CUDA devices; addresses are the device's.");
    m2t::cuda::bind_all(cuda);
#endif
}
