// The words that step-by-step scheduled sampling would read, for groups of motions, each on one thread.
#include "cpu/decode_groups.h"

namespace m2t {
namespace {

template <typename T>
DecodeKernels<T> kernels_for(InstructionSet isa) {
    return decode_kernels<T>(isa);
}
template <>
DecodeKernels<BFloat16> kernels_for<BFloat16>(InstructionSet) {
    return bfloat16_decode_kernels();
}

// Motions that a group aims at: enough for products at full speed.
constexpr std::int64_t kSampleRows = 64;

template <typename S>
struct SampleSpace {
    using T = WideOf<S>;
    DecodeRows<S> rows;
    T *input, *mixed;  // (N, E)
    RowAttention<T> attention;

    SampleSpace(const DecodeSizes& n, std::int64_t motions, Layout& layout) : rows(n, motions, 1, motions, layout) {
        layout.take(input, motions * n.word);
        layout.take(mixed, motions * n.word);
        layout.take(attention.window, motions * n.frames);
        layout.take(attention.alpha, motions * n.frames * n.parts);
        layout.take(attention.mean, motions);
        layout.take(attention.std, motions);
        layout.take(attention.gate, motions);
    }
};

template <typename S>
struct GroupSample {
    using T = WideOf<S>;
    const DecodeModel<S>& m;
    const DecodeKernels<S>& kernel;
    const SampleInputs<S>& in;
    const Groups& groups;
    std::int64_t group;
    SampleSpace<S>& s;

    // `last`: the last step that is not given.
    void run(std::int64_t last) {
        DecodeRows<S>& rows = s.rows;
        prepare_group(m, kernel, groups, group, rows);
        rows.count = groups.size(group);
        rows.attention = s.attention;
        clear_state(rows.state, rows.count * m.n.hidden);
        for (std::int64_t i = 0; i < rows.count; ++i) rows.state.motion[i] = i;
        for (std::int64_t step = 0; step < last; ++step) {
            for (std::int64_t i = 0; i < rows.count; ++i) rows.state.word[i] = *word(i, step);
            embed(m, rows);
            rows.input = dropped(in.input_dropout, step, s.input);
            rows.mixed = dropped(in.mixed_dropout, step, s.mixed);
            kernel.advance(m, rows);
            if (in.coins[step + 1]) continue;
            kernel.predict(m, rows);
            for (std::int64_t i = 0; i < rows.count; ++i) {
                const T* logits = rows.logits + i * m.n.vocabulary;
                *word(i, step + 1) = std::max_element(logits, logits + m.n.vocabulary) - logits;
            }
        }
    }

    std::int64_t* word(std::int64_t i, std::int64_t step) const {
        return in.words + groups.motion(group, i) * in.length + step;
    }

    // The embeddings times their dropout factors.
    T* dropped(const T* factors, std::int64_t step, T* to) {
        if (factors == nullptr) return s.rows.embedded;
        for (std::int64_t i = 0; i < s.rows.count; ++i) {
            const T* row = factors + (groups.motion(group, i) * in.length + step) * m.n.word;
            const T* from = s.rows.embedded + i * m.n.word;
            std::transform(from, from + m.n.word, row, to + i * m.n.word, [](T x, T factor) { return x * factor; });
        }
        return to;
    }
};

}  // namespace

template <typename T>
void sample_words(const DecodeModel<T>& model, const SampleInputs<T>& in, int threads, InstructionSet isa) {
    std::int64_t last = in.length - 1;
    while (last > 0 && in.coins[last]) --last;
    const DecodeSizes& n = model.n;
    if (last <= 0 || n.batch == 0) return;
    const DecodeKernels<T> kernel = kernels_for<T>(isa);
    const auto bytes = static_cast<std::int64_t>(sizeof(T)) * n.frames * 2 * n.slots * n.step(sizeof(T));
    const Groups groups(n.batch, kSampleRows, bytes, threads);
    Layout layout(nullptr);
    const SampleSpace<T> measured(n, groups.largest, layout);
    const Workspaces workspaces(threads, layout.bytes());
    const PackedModel<T> packed(model, kernel, threads);
    parallel_for_uneven(groups.count, threads, [&](std::int64_t group, int thread) {
        Layout memory(workspaces.of(thread));
        prefer_huge_pages(workspaces.of(thread), layout.bytes());
        SampleSpace<T> space(n, groups.largest, memory);
        GroupSample<T>{packed.get(), kernel, in, groups, group, space}.run(last);
    });
}

template void sample_words<float>(const DecodeModel<float>&, const SampleInputs<float>&, int, InstructionSet);
template void sample_words<double>(const DecodeModel<double>&, const SampleInputs<double>&, int, InstructionSet);
template void sample_words<BFloat16>(const DecodeModel<BFloat16>&, const SampleInputs<BFloat16>&, int, InstructionSet);

}  // namespace m2t
