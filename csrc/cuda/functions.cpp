// The CUDA kernels as functions, each as NAME_float32 and NAME_bfloat16.
#include "common/functions.h"
#include "cuda/attention.h"
#include "cuda/decode.h"
#include "cuda/few_rows_gradients.h"
#include "cuda/gate.h"
#include "cuda/lstm.h"
#include "cuda/storage.h"

namespace m2t::cuda {
namespace {

template <typename T>
void define_attention(Functions& to) {
    to.function<T>("attention_scores", attention_scores<T>, {"task", "place"});
    to.function<T>("attention_moments", attention_moments<T>, {"task", "place"});
    to.function<T>("attention_window", attention_window<T>, {"task", "place"});
    to.function<T>("attention_loss", attention_loss<T>, {"task", "place"});
    to.function<T>("attention_context", attention_context<T>, {"task", "place"});
    to.function<T>("attention_word_gradient", attention_word_gradient<T>, {"task", "place"});
    to.function<T>("attention_score_gradient", attention_score_gradient<T>, {"task", "place"});
}

template <typename T>
void define_gate(Functions& to) {
    to.function<T>("gate_step", gate_step<T>, {"sizes", "step", "place"});
    to.function<T>("gate_forward", gate_forward<T>, {"sizes", "inputs", "outputs", "place"});
    to.function<T>("gate_backward", gate_backward<T>, {"sizes", "inputs", "outputs", "place"});
    to.function<T>("bias_tanh", bias_tanh<T>, {"task", "place"});
    to.function<T>("tanh_gradient", tanh_gradient<T>, {"task", "place"});
}

template <typename T>
void define_lstm(Functions& to) {
    to.function<T>("lstm_cells", lstm_cells<T>, {"rows", "units", "bottom", "top", "place"});
    to.function<T>("lstm_forward", lstm_forward<T>, {"rows", "units", "products", "cell", "place"});
    to.function<T>("lstm_backward", lstm_backward<T>, {"rows", "units", "task", "place"});
}

// `Products` and its `jobs` as a launch takes them.
template <typename Products, typename Job>
Products batch_of(std::int64_t rows, const std::vector<Job>& jobs) {
    if (jobs.empty() || jobs.size() > kLargestBatch) {
        throw std::invalid_argument("jobs: got " + std::to_string(jobs.size()) + ", expected 1 to " +
                                    std::to_string(kLargestBatch));
    }
    Products products = {};
    products.count = static_cast<int>(jobs.size());
    products.rows = rows;
    for (std::size_t i = 0; i < jobs.size(); ++i) products.jobs[i] = jobs[i];
    return products;
}

template <typename T>
void run_rows_products(std::int64_t rows, const std::vector<RowsProduct<T>>& jobs, const Place& place) {
    rows_products(batch_of<RowsProducts<T>>(rows, jobs), place);
}

template <typename T>
void run_outer_products(std::int64_t rows, const std::vector<OuterProduct<T>>& jobs, const Place& place) {
    outer_products(batch_of<OuterProducts<T>>(rows, jobs), place);
}

template <typename T>
void define_few_rows(Functions& to) {
    to.function<T>("rows_products", run_rows_products<T>, {"rows", "jobs", "place"});
    to.function<T>("outer_products", run_outer_products<T>, {"rows", "jobs", "place"});
}

template <typename T>
DecodePlan run_plan_decode(const DecodeSizes& sizes, int beams, int max_length, bool sampling, const Place& place) {
    return plan_decode<T>(sizes, beams, max_length, sampling, place.device);
}

template <typename T>
void define_decode(Functions& to) {
    to.function<T>("plan_decode", run_plan_decode<T>, {"sizes", "beams", "max_length", "sampling", "place"});
    to.function<T>("decode_search", search<T>,
                   {"sizes", "memory", "weights", "options", "outputs", "plan", "scratch", "place"});
    to.function<T>("decode_sample_words", sample_words<T>,
                   {"sizes", "memory", "weights", "options", "inputs", "plan", "scratch", "place"});
}

template <typename T>
void define(Functions& to) {
    define_attention<T>(to);
    define_gate<T>(to);
    define_lstm<T>(to);
    define_few_rows<T>(to);
    define_decode<T>(to);
}

const Registered registered(
    [](Functions& to) {
        to.record<AttentionSizes>("AttentionSizes");
        to.record<GradientRows<float>>("GradientRows");
        to.record<WordStats>("WordStats");
        to.record<DecodePlan>("DecodePlan");
        define<float>(to);
        define<bfloat16>(to);
    },
    Module::cuda);

}  // namespace

}  // namespace m2t::cuda
