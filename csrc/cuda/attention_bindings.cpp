// Python's way to the attention kernels.
#include <pybind11/stl.h>

#include <string>

#include "cuda/attention.h"
#include "cuda/bindings.h"
#include "cuda/storage.h"

namespace py = pybind11;

namespace m2t::cuda {
namespace {

using Numbers = std::array<std::int64_t, 7>;

AttentionSizes sizes_of(const Numbers& n) { return {n[0], n[1], n[2], n[3], n[4], n[5], n[6]}; }

template <typename T>
void define(py::module_& module, const std::string& suffix) {
    const auto name = [&suffix](const char* kernel) { return std::string(kernel) + "_" + suffix; };
    const py::call_guard<py::gil_scoped_release> free;
    const py::arg sizes("shape"), lengths("lengths"), stats("stats"), device("device"), stream("stream");
    module.def(
        name("attention_scores").c_str(),
        [](const Numbers& n, std::int64_t rows, Address keys, Address query, Address weight, Address lengths_at,
           Address stats_at, Address scores, Address rest, int on, std::uintptr_t in) {
            attention_scores<T>(
                {sizes_of(n), rows, at<const T>(keys), at<const T>(query), at<const T>(weight),
                 at<const std::int64_t>(lengths_at), at<const WordStats>(stats_at), at<float>(scores), at<float>(rest)},
                {on, in});
        },
        sizes, py::arg("rows"), py::arg("keys"), py::arg("query"), py::arg("weight"), lengths, stats, py::arg("scores"),
        py::arg("rest"), device, stream, free);
    module.def(
        name("attention_moments").c_str(),
        [](const Numbers& n, Address temporal, Address rest, Address lengths_at, float smallest_variance, float reach,
           Address stats_at, Address mean, Address std, int on, std::uintptr_t in) {
            attention_moments<T>(
                {sizes_of(n), at<const float>(temporal), at<const float>(rest), at<const std::int64_t>(lengths_at),
                 smallest_variance, reach, at<WordStats>(stats_at), at<T>(mean), at<T>(std)},
                {on, in});
        },
        sizes, py::arg("temporal"), py::arg("rest"), lengths, py::arg("smallest_variance"), py::arg("reach"), stats,
        py::arg("mean"), py::arg("std"), device, stream, free);
    module.def(
        name("attention_window").c_str(),
        [](const Numbers& n, Address stats_at, Address bias, Address lengths_at, float scale, Address spatial,
           Address out_window, Address out_spatial, int on, std::uintptr_t in) {
            attention_window<T>(
                {sizes_of(n), at<const WordStats>(stats_at), at<const T>(bias), at<const std::int64_t>(lengths_at),
                 scale, at<float>(spatial), at<T>(out_window), at<T>(out_spatial)},
                {on, in});
        },
        sizes, stats, py::arg("bias"), lengths, py::arg("scale"), py::arg("spatial"), py::arg("out_window"),
        py::arg("out_spatial"), device, stream, free);
    module.def(
        name("attention_loss").c_str(),
        [](const Numbers& n, Address spatial, Address bias, Address lengths_at, Address target, float least_log,
           Address loss, int on, std::uintptr_t in) {
            attention_loss<T>({sizes_of(n), at<const float>(spatial), at<const T>(bias),
                               at<const std::int64_t>(lengths_at), at<const float>(target), least_log, at<float>(loss)},
                              {on, in});
        },
        sizes, py::arg("spatial"), py::arg("bias"), lengths, py::arg("target"), py::arg("least_log"), py::arg("loss"),
        device, stream, free);
    module.def(
        name("attention_context").c_str(),
        [](const Numbers& n, Address parts, Address weights, Address stats_at, Address context, int on,
           std::uintptr_t in) {
            attention_context<T>({sizes_of(n), at<const T>(parts), at<const float>(weights),
                                  at<const WordStats>(stats_at), at<T>(context)},
                                 {on, in});
        },
        sizes, py::arg("parts"), py::arg("weights"), stats, py::arg("context"), device, stream, free);
    module.def(
        name("attention_word_gradient").c_str(),
        [](const Numbers& n, Address stats_at, Address bias, Address lengths_at, float scale, float smallest_variance,
           const std::array<Address, 5>& grads, Address target, Address d_loss, float least_log, Address rest,
           Address temporal, Address spatial, Address weights, Address d_bias, int on, std::uintptr_t in) {
            attention_word_gradient<T>(
                {sizes_of(n), at<const WordStats>(stats_at), at<const T>(bias), at<const std::int64_t>(lengths_at),
                 scale, smallest_variance, at<const T>(grads[0]), at<const T>(grads[1]), at<const T>(grads[2]),
                 at<const T>(grads[3]), at<const T>(grads[4]), at<const float>(target), at<const float>(d_loss),
                 least_log, at<const float>(rest), at<float>(temporal), at<float>(spatial), at<T>(weights),
                 at<float>(d_bias)},
                {on, in});
        },
        sizes, stats, py::arg("bias"), lengths, py::arg("scale"), py::arg("smallest_variance"), py::arg("grads"),
        py::arg("target"), py::arg("d_loss"), py::arg("least_log"), py::arg("rest"), py::arg("temporal"),
        py::arg("spatial"), py::arg("weights"), py::arg("d_bias"), device, stream, free);
    module.def(
        name("attention_score_gradient").c_str(),
        [](const Numbers& n, std::int64_t rows, std::int64_t keys_per_tile, Address keys, Address query, Address weight,
           Address lengths_at, Address d_scores, Address d_keys, Address d_query, Address d_weight, int on,
           std::uintptr_t in) {
            attention_score_gradient<T>(
                {sizes_of(n), rows, keys_per_tile, at<const T>(keys), at<const T>(query), at<const T>(weight),
                 at<const std::int64_t>(lengths_at), at<const float>(d_scores), at<T>(d_keys), at<float>(d_query),
                 at<float>(d_weight)},
                {on, in});
        },
        sizes, py::arg("rows"), py::arg("keys_per_tile"), py::arg("keys"), py::arg("query"), py::arg("weight"), lengths,
        py::arg("d_scores"), py::arg("d_keys"), py::arg("d_query"), py::arg("d_weight"), device, stream, free);
}

}  // namespace

void bind_attention(py::module_& module) {
    define<float>(module, "float32");
    define<bfloat16>(module, "bfloat16");
}

}  // namespace m2t::cuda
