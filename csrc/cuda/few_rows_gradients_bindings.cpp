// Python's way to the products of a gradient that has few rows.
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/bindings.h"
#include "cuda/few_rows_gradients.h"
#include "cuda/storage.h"

namespace py = pybind11;

namespace m2t::cuda {
namespace {

// Five addresses and the two sizes of a product, J and K.
using Job = std::array<std::uintptr_t, 7>;

int checked_count(const std::vector<Job>& jobs) {
    if (jobs.empty() || jobs.size() > kLargestBatch) {
        throw std::invalid_argument("jobs: got " + std::to_string(jobs.size()) + ", expected 1 to " +
                                    std::to_string(kLargestBatch));
    }
    return static_cast<int>(jobs.size());
}

template <typename T>
GradientRows<T> rows_at(const Job& j) {
    return {at<const T>(j[0]), at<const T>(j[1]), static_cast<std::int64_t>(j[5])};
}

// A job: rows d and tanh, weight, add, out.
template <typename T>
void run_rows_products(std::int64_t rows, const std::vector<Job>& jobs, int device, std::uintptr_t stream) {
    RowsProducts<T> p = {};
    p.count = checked_count(jobs), p.rows = rows;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        const Job& j = jobs[i];
        p.jobs[i] = {rows_at<T>(j), at<const T>(j[2]), at<const T>(j[3]), at<T>(j[4]), static_cast<std::int64_t>(j[6])};
    }
    rows_products(p, {device, stream});
}

// A job: rows d and tanh, x, d_weight, d_bias.
template <typename T>
void run_outer_products(std::int64_t rows, const std::vector<Job>& jobs, int device, std::uintptr_t stream) {
    OuterProducts<T> p = {};
    p.count = checked_count(jobs), p.rows = rows;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        const Job& j = jobs[i];
        p.jobs[i] = {rows_at<T>(j), at<const T>(j[2]), at<T>(j[3]), at<T>(j[4]), static_cast<std::int64_t>(j[6])};
    }
    outer_products(p, {device, stream});
}

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    const auto unlocked = py::call_guard<py::gil_scoped_release>();
    module.def(("rows_products_" + suffix).c_str(), &run_rows_products<T>, py::arg("rows"), py::arg("jobs"),
               py::arg("device"), py::arg("stream"), unlocked);
    module.def(("outer_products_" + suffix).c_str(), &run_outer_products<T>, py::arg("rows"), py::arg("jobs"),
               py::arg("device"), py::arg("stream"), unlocked);
}

}  // namespace

void bind_few_rows_gradients(py::module_& module) {
    define<float>(module, "float32");
    define<bfloat16>(module, "bfloat16");
}

}  // namespace m2t::cuda
