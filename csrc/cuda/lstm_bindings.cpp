// Python's way to the kernels of LSTM cells.
#include <pybind11/stl.h>

#include <string>

#include "cuda/bindings.h"
#include "cuda/lstm.h"
#include "cuda/storage.h"

namespace py = pybind11;

namespace m2t::cuda {
namespace {

// x, hidden, cell, the two weights and the two biases; next_hidden, next_cell, gates.
using Inputs = std::array<Address, 7>;
using Outputs = std::array<Address, 3>;

template <typename T>
LstmCell<T> cell_at(const Inputs& a, const Outputs& o, std::int64_t inputs) {
    return {at<const T>(a[0]),
            at<const T>(a[1]),
            at<const T>(a[2]),
            at<const T>(a[3]),
            at<const T>(a[4]),
            at<const T>(a[5]),
            at<const T>(a[6]),
            at<T>(o[0]),
            at<T>(o[1]),
            at<T>(o[2]),
            inputs};
}

template <typename T>
void run_cells(std::int64_t rows, std::int64_t word, std::int64_t units, const Inputs& bottom, const Inputs& top,
               const Outputs& bottom_out, const Outputs& top_out, int device, std::uintptr_t stream) {
    lstm_cells(rows, units, cell_at<T>(bottom, bottom_out, word), cell_at<T>(top, top_out, units), {device, stream});
}

template <typename T>
void run_forward(std::int64_t rows, std::int64_t units, Address input_product, Address hidden_product,
                 const Inputs& inputs, const Outputs& outputs, int device, std::uintptr_t stream) {
    lstm_forward(rows, units, at<const T>(input_product), at<const T>(hidden_product), cell_at<T>(inputs, outputs, 0),
                 {device, stream});
}

// d_next_hidden, d_next_cell, gates, cell, next_cell; d_sums, d_cell.
template <typename T>
void run_backward(std::int64_t rows, std::int64_t units, const std::array<Address, 5>& i,
                  const std::array<Address, 2>& o, int device, std::uintptr_t stream) {
    const LstmBackward<T> p = {at<const T>(i[0]), at<const T>(i[1]), at<const T>(i[2]), at<const T>(i[3]),
                               at<const T>(i[4]), at<T>(o[0]),       at<T>(o[1])};
    lstm_backward(rows, units, p, {device, stream});
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    const auto unlocked = py::call_guard<py::gil_scoped_release>();
    const auto rows = py::arg("rows"), units = py::arg("units"), device = py::arg("device"), stream = py::arg("stream");
    module.def(("lstm_cells_" + suffix).c_str(), &run_cells<T>, rows, py::arg("word"), units, py::arg("bottom"),
               py::arg("top"), py::arg("bottom_outputs"), py::arg("top_outputs"), device, stream, unlocked);
    module.def(("lstm_forward_" + suffix).c_str(), &run_forward<T>, rows, units, py::arg("input_product"),
               py::arg("hidden_product"), py::arg("inputs"), py::arg("outputs"), device, stream, unlocked);
    module.def(("lstm_backward_" + suffix).c_str(), &run_backward<T>, rows, units, py::arg("inputs"),
               py::arg("outputs"), device, stream, unlocked);
}

}  // namespace

void bind_lstm(py::module_& module) {
    define<float>(module, "float32");
    define<bfloat16>(module, "bfloat16");
}

}  // namespace m2t::cuda
