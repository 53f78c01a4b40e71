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
#include "common/waiting.h"

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
    py::class_<m2t::Buffer>(module, "Buffer", py::buffer_protocol())
        .def(py::init<std::size_t>(), py::arg("bytes"))
        .def_buffer([](m2t::Buffer& buffer) {
            return py::buffer_info(static_cast<unsigned char*>(buffer.data()),
                                   static_cast<py::ssize_t>(buffer.bytes()));
        });
    module.def("set_pool_limit", &m2t::set_pool_limit, py::arg("bytes"));
    module.def("pool_bytes", &m2t::pool_bytes);
    module.def("watch_cores", &m2t::watch_cores, py::arg("gomp_parallel"), py::arg("cores"), py::arg("threads"),
               py::arg("tasks") = "/proc/self/task");
    module.def("cores_wanted", &m2t::cores_wanted);
    m2t::add_functions(module, m2t::functions_of(m2t::Module::native));
#if defined(M2T_CUDA_TARGETS)
    py::module_ cuda = module.def_submodule("cuda", "Kernels for CUDA devices; addresses are the device's.");
    m2t::add_functions(cuda, m2t::functions_of(m2t::Module::cuda));
#endif
}
