// The Python face of the kernels: m2t_fast._native.
//
// Knows nothing of torch: a tensor arrives as the address of its first element in a record (common/record.h), with its
// sizes. So one build serves every torch version, and building needs only pybind11. m2t_fast/extension.py checks dtypes
// and sizes of records, and the ops everything else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "common/bindings.h"
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
    module.def("build_info", &build_info);
    m2t::Bindings to(module);
    to.function("pack_ragged", m2t::pack_ragged, {"task", "threads"});
    m2t::bind_buffer_pool(module);
    m2t::bind_additive(to);
    m2t::bind_attention(to);
    m2t::bind_cross_entropy(to);
    m2t::bind_decode(to);
    m2t::bind_draws(to);
    m2t::bind_encoder(to);
    m2t::bind_gate(to);
    m2t::bind_gather(to);
    m2t::bind_linear(to);
    m2t::bind_rates(to);
    m2t::bind_spatial_loss(to);
#if defined(M2T_CUDA_TARGETS)
    py::module_ cuda = module.def_submodule("cuda", "Kernels for CUDA devices; addresses are the device's.");
    m2t::Bindings to_cuda(cuda);
    m2t::cuda::bind_all(to_cuda);
#endif
}
