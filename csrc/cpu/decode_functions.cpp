// Python's way to decoding.
#include "common/functions.h"
#include "cpu/decode.h"

namespace m2t {
namespace {

template <typename T>
DecodeModel<T> model_of(const DecodeSizes& n, const DecodeMemory<T>& memory, const DecodeWeights<T>& w,
                        const DecodeNumbers& numbers) {
    const auto layer = [](const T* weight, const WideOf<T>* bias, std::int64_t columns, std::int64_t terms) {
        return Layer<T>{weight, bias, columns, terms, nullptr};
    };
    const std::int64_t size = n.hidden, dim = n.attention_dim;
    DecodeModel<T> m = {};
    m.n = n;
    m.memory = memory;
    m.embedding = w.embedding;
    m.bottom = layer(w.bottom, w.bottom_bias, 4 * size, n.word + size);
    m.top = layer(w.top, w.top_bias, 4 * size, 2 * size);
    m.query = layer(w.query, w.query_bias, 2 * dim, size);
    m.temporal_weight = w.temporal_weight;
    m.spatial_weight = w.spatial_weight;
    m.spatial_bias = w.spatial_bias;
    m.gate_hidden_weight = w.gate_hidden;
    m.gate_word_weight = w.gate_word;
    m.gate_bias = w.gate_bias;
    m.context = layer(w.context, w.context_bias, dim, n.part_dim);
    m.language = layer(w.language, w.language_bias, dim, size);
    m.mixture = layer(w.mixture, w.mixture_bias, n.mixture, n.word + dim + size);
    m.output = layer(w.output, w.output_bias, n.vocabulary, n.mixture);
    m.scale = numbers.scale;
    m.sigma_min = numbers.sigma_min;
    m.force_gate = numbers.force_gate;
    return m;
}

template <typename T>
void run_search(const DecodeSizes& n, const DecodeMemory<T>& memory, const DecodeWeights<T>& weights,
                const DecodeNumbers& numbers, const SearchOptions& options, const SearchOutputs<T>& out, int threads,
                InstructionSet isa) {
    search<T>(model_of(n, memory, weights, numbers), options, out, threads, isa);
}

template <typename T>
void run_sample_words(const DecodeSizes& n, const DecodeMemory<T>& memory, const DecodeWeights<T>& weights,
                      const DecodeNumbers& numbers, const SampleInputs<T>& in, int threads, InstructionSet isa) {
    sample_words<T>(model_of(n, memory, weights, numbers), in, threads, isa);
}

template <typename T>
void define_search(Functions& to) {
    to.function<T>("decode_search", run_search<T>,
                   {"sizes", "memory", "weights", "numbers", "options", "outputs", "threads", "instruction_set"});
}

template <typename T>
void define_sample_words(Functions& to) {
    to.function<T>("decode_sample_words", run_sample_words<T>,
                   {"sizes", "memory", "weights", "numbers", "inputs", "threads", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define_search<float>(to);
    define_search<double>(to);
    define_sample_words<float>(to);
    define_sample_words<double>(to);
    define_sample_words<BFloat16>(to);
});

}  // namespace

}  // namespace m2t
