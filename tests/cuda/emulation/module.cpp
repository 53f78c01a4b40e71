// The emulated device as a Python module: the functions of m2t_fast._native.cuda, and the device's settings.
#include "common/bindings.h"
#include "emulation.h"
#include "faults.h"

namespace py = pybind11;
namespace emulation = m2t::cuda::emulation;

PYBIND11_MODULE(_emulated, module) {
    m2t::Functions all = m2t::functions_of(m2t::Module::cuda);
    all.function<float>("trial", m2t::cuda::run_trial, {"name", "trial"});
    static const m2t::Functions functions = all;  // what Python calls is kept in it
    m2t::add_functions(module, functions);
    module.def("set_order", [](const std::string& name) {
        emulation::order = name == "backward"   ? emulation::Order::backward
                           : name == "shuffled" ? emulation::Order::shuffled
                           : name == "warps"    ? emulation::Order::warps
                                                : emulation::Order::forward;
    });
    module.def("set_device", [](int multiprocessors, int shared_bytes, int capability) {
        emulation::limits = {multiprocessors, shared_bytes, capability};
    });
    module.def("set_exponential_error", [](double error) { emulation::exponential_error = error; });
    module.def("set_planning", [](bool on) { emulation::planning = on, emulation::planned.clear(); });
    module.def("planned", [] {  // (blocks, threads, bytes of shared memory) of each launch
        py::list found;
        for (const auto& made : emulation::planned) {
            found.append(py::make_tuple(std::uint64_t{made.blocks.x} * made.blocks.y * made.blocks.z, made.threads,
                                        made.shared_bytes));
        }
        return found;
    });
    module.def("launches", [] { return emulation::launches; });
}
