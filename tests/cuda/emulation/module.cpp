// The emulated device as a Python module: the functions of m2t_fast._native.cuda, and the device's settings.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cuda/bindings.h"
#include "emulation.h"
#include "faults.h"

namespace py = pybind11;
namespace emulation = m2t::cuda::emulation;

PYBIND11_MODULE(_emulated, module) {
    m2t::cuda::bind_all(module);
    module.def("set_order", [](const std::string& name) {
        emulation::order = name == "backward"   ? emulation::Order::backward
                           : name == "shuffled" ? emulation::Order::shuffled
                                                : emulation::Order::forward;
    });
    module.def("set_device", [](int multiprocessors, int shared_bytes, int capability) {
        emulation::limits = {multiprocessors, shared_bytes, capability};
    });
    module.def(
        "trial_float32",
        [](const std::string& name, m2t::cuda::Address out, unsigned blocks, unsigned threads, unsigned cluster, int,
           std::uintptr_t) { m2t::cuda::run_trial(name, m2t::cuda::at<float>(out), blocks, threads, cluster); },
        py::arg("name"), py::arg("out"), py::arg("blocks"), py::arg("threads"), py::arg("cluster"), py::arg("device"),
        py::arg("stream"));
    module.def("launches", [] { return emulation::launches; });
}
