// Greedy and beam search over groups of motions, each on one thread.
#include <cmath>
#include <limits>

#include "cpu/decode_groups.h"

namespace m2t {
namespace {

// Rows that a group aims at: enough for products at full speed.
constexpr std::int64_t kSearchRows = 64;

// A word of a hypothesis and the row that predicted it, at its step.
struct Choice {
    std::int64_t word, row;
};

// Hypothesis `origin` of a motion, which sits in `row`, goes on with `word`.
template <typename T>
struct Candidate {
    T total;
    std::int64_t origin, row, word;
};

// The `limit` best candidates, best first; of equal ones the first that came stays. NaN and -inf never enter.
template <typename T>
struct BestCandidates {
    Candidate<T>* list;
    std::int64_t limit, count;

    bool takes(T total) const {
        return count < limit ? total > -std::numeric_limits<T>::infinity() : total > list[limit - 1].total;
    }
    void add(const Candidate<T>& candidate) {
        if (!takes(candidate.total)) return;
        if (count < limit) ++count;
        std::int64_t i = count - 1;
        for (; i > 0 && candidate.total > list[i - 1].total; --i) list[i] = list[i - 1];
        list[i] = candidate;
    }
};

// Everything that one thread needs for its group.
template <typename T>
struct SearchSpace {
    DecodeRows<T> rows;
    Choice *prefix, *new_prefix, *done;  // (G, K, W) growing hypotheses, (K, W) workspace, (G, K, W) finished ones
    T *total, *done_score;               // (G, K) log-probabilities; (G, K) best first, -inf where there is none
    std::int64_t *live, *done_length;    // (G) growing hypotheses; (G, K) words
    Candidate<T>* candidates;            // (K)
    T* largest;                          // (V / kScanned, rounded up)
    RowAttention<T> record;              // of every row there ever was: (W, G * K, ...)

    SearchSpace(const DecodeSizes& n, const SearchOptions& o, std::int64_t motions, Layout& layout)
        : rows(n, motions * o.beams, o.beams, motions, layout) {
        const std::int64_t hypotheses = motions * o.beams, records = hypotheses * o.max_length;
        layout.take(prefix, records);
        layout.take(new_prefix, o.beams * o.max_length);
        layout.take(done, records);
        layout.take(total, hypotheses);
        layout.take(done_score, hypotheses);
        layout.take(live, motions);
        layout.take(done_length, hypotheses);
        layout.take(candidates, o.beams);
        layout.take(largest, (n.vocabulary + kScanned - 1) / kScanned);
        layout.take(record.window, records * n.frames);
        layout.take(record.alpha, records * n.frames * n.parts);
        layout.take(record.mean, records);
        layout.take(record.std, records);
        layout.take(record.gate, records);
    }
};

template <typename T>
struct GroupSearch {
    const DecodeModel<T>& m;
    const DecodeKernels<T>& kernel;
    const SearchOptions& o;
    const SearchOutputs<T>& out;
    const Groups& groups;
    std::int64_t group;
    SearchSpace<T>& s;

    void run() {
        prepare_group(m, kernel, groups, group, s.rows);
        const std::int64_t size = groups.size(group);
        for (std::int64_t i = 0; i < size; ++i) {  // a motion begins with one empty hypothesis
            s.rows.state.word[i] = o.start;
            s.rows.state.motion[i] = i;
            s.total[i * o.beams] = 0;
            s.live[i] = 1;
        }
        std::fill_n(s.done_score, size * o.beams, -std::numeric_limits<T>::infinity());
        std::fill_n(s.done_length, size * o.beams, 0);
        clear_state(s.rows.state, size * m.n.hidden);
        s.rows.count = size;
        for (std::int64_t step = 0; s.rows.count > 0; ++step) {
            embed(m, s.rows);
            s.rows.input = s.rows.mixed = s.rows.embedded;
            kernel.advance(m, s.rows);
            const std::int64_t first = record_row(step, 0);
            s.rows.attention = {s.record.window + first * m.n.frames, s.record.alpha + first * m.n.frames * m.n.parts,
                                s.record.mean + first, s.record.std + first, s.record.gate + first};
            kernel.predict(m, s.rows);
            choose(step);
        }
    }

    std::int64_t record_row(std::int64_t step, std::int64_t row) const { return step * groups.largest * o.beams + row; }

    Choice* hypothesis(Choice* base, std::int64_t i, std::int64_t k) const {
        return base + (i * o.beams + k) * o.max_length;
    }

    // Fills the rows of the next word; motions that are decided have none.
    void choose(std::int64_t step) {
        const RowState<T>&now = s.rows.state, &next = s.rows.next;
        std::int64_t count = 0;
        for (std::int64_t row = 0, live; row < s.rows.count; row += live) {
            const std::int64_t i = now.motion[row];
            live = s.live[i];
            if (o.beams == 1 ? end_greedily(i, row, step) : end_beams(i, row, step)) {
                write(i);
                continue;
            }
            for (std::int64_t k = 0; k < s.live[i]; ++k, ++count) {
                const std::int64_t from = s.candidates[k].row * m.n.hidden, to = count * m.n.hidden;
                next.word[count] = s.candidates[k].word;
                next.motion[count] = i;
                std::copy_n(now.hidden + from, m.n.hidden, next.hidden + to);
                std::copy_n(now.cell + from, m.n.hidden, next.cell + to);
                std::copy_n(now.top + from, m.n.hidden, next.top + to);
                std::copy_n(now.top_cell + from, m.n.hidden, next.top_cell + to);
            }
        }
        std::swap(s.rows.state, s.rows.next);
        s.rows.count = count;
    }

    T length_divisor(std::int64_t words) const {
        return static_cast<T>(std::pow(static_cast<double>(words), o.length_penalty));
    }

    // Appends the likeliest word to motion i's caption, in `row`. True when the caption is complete.
    bool end_greedily(std::int64_t i, std::int64_t row, std::int64_t step) {
        const T* logits = s.rows.logits + row * m.n.vocabulary;
        const double normaliser = kernel.log_sum_exp(logits, m.n.vocabulary, s.largest);
        if (std::isnan(normaliser)) return give_up(i);
        const std::int64_t word = std::max_element(logits, logits + m.n.vocabulary) - logits;
        s.total[i] += static_cast<T>(logits[word] - normaliser);
        hypothesis(s.done, i, 0)[step] = {word, row};
        s.done_length[i] = step + 1;
        s.done_score[i] = s.total[i] / length_divisor(step + 1);
        s.candidates[0] = {s.total[i], 0, row, word};
        return word == o.end || step + 1 == o.max_length;
    }

    // Ends and continues the hypotheses of motion i, which begin at `row`. True when its K best are decided.
    bool end_beams(std::int64_t i, std::int64_t row, std::int64_t step) {
        const T divisor = length_divisor(step + 1);
        T* totals = s.total + i * o.beams;
        BestCandidates<T> best = {s.candidates, o.beams, 0};
        for (std::int64_t k = 0; k < s.live[i]; ++k) {
            const T* logits = s.rows.logits + (row + k) * m.n.vocabulary;
            const double normaliser = kernel.log_sum_exp(logits, m.n.vocabulary, s.largest);
            if (std::isnan(normaliser)) return give_up(i);
            const auto total_with = [&](T logit) { return totals[k] + static_cast<T>(logit - normaliser); };
            add_done(i, hypothesis(s.prefix, i, k), step, {o.end, row + k}, total_with(logits[o.end]) / divisor);
            for (std::int64_t first = 0; first < m.n.vocabulary; first += kScanned) {
                if (!best.takes(total_with(s.largest[first / kScanned]))) continue;
                const std::int64_t last = std::min(first + kScanned, m.n.vocabulary);
                for (std::int64_t word = first; word < last; ++word) {
                    if (word != o.end) best.add({total_with(logits[word]), k, row + k, word});
                }
            }
        }
        if (step + 1 == o.max_length) {  // the growing ones count as finished
            for (std::int64_t k = 0; k < best.count; ++k) {
                const Candidate<T>& c = best.list[k];
                add_done(i, hypothesis(s.prefix, i, c.origin), step, {c.word, c.row}, c.total / divisor);
            }
            return true;
        }
        if (best.count == 0 || s.done_score[(i + 1) * o.beams - 1] >= best.list[0].total / divisor) return true;
        for (std::int64_t k = 0; k < best.count; ++k) {
            Choice* prefix = s.new_prefix + k * o.max_length;
            std::copy_n(hypothesis(s.prefix, i, best.list[k].origin), step, prefix);
            prefix[step] = {best.list[k].word, best.list[k].row};
            totals[k] = best.list[k].total;
        }
        for (std::int64_t k = 0; k < best.count; ++k) {
            std::copy_n(s.new_prefix + k * o.max_length, step + 1, hypothesis(s.prefix, i, k));
        }
        s.live[i] = best.count;
        return false;
    }

    // Puts a hypothesis, `prefix` and one more word, among the K best finished ones of motion i if it belongs there.
    void add_done(std::int64_t i, const Choice* prefix, std::int64_t step, Choice last, T score) {
        T* scores = s.done_score + i * o.beams;
        std::int64_t* lengths = s.done_length + i * o.beams;
        std::int64_t k = o.beams - 1;
        if (!(score > scores[k])) return;
        for (; k > 0 && score > scores[k - 1]; --k) {
            scores[k] = scores[k - 1];
            lengths[k] = lengths[k - 1];
            std::copy_n(hypothesis(s.done, i, k - 1), lengths[k], hypothesis(s.done, i, k));
        }
        scores[k] = score;
        lengths[k] = step + 1;
        std::copy_n(prefix, step, hypothesis(s.done, i, k));
        hypothesis(s.done, i, k)[step] = last;
    }

    // A motion whose logits are no numbers has no caption, and its scores say so.
    bool give_up(std::int64_t i) {
        std::fill_n(s.done_score + i * o.beams, o.beams, std::numeric_limits<T>::quiet_NaN());
        std::fill_n(s.done_length + i * o.beams, o.beams, 0);
        return true;
    }

    void write(std::int64_t i) const {
        const std::int64_t b = groups.motion(group, i);
        for (std::int64_t k = 0; k < o.beams; ++k) {
            const Choice* words = hypothesis(s.done, i, k);
            std::int64_t* tokens = out.tokens + (b * o.beams + k) * o.max_length;
            const std::int64_t length = s.done_length[i * o.beams + k];
            for (std::int64_t j = 0; j < o.max_length; ++j) tokens[j] = j < length ? words[j].word : o.pad;
            out.scores[b * o.beams + k] = s.done_score[i * o.beams + k];
        }
        const std::int64_t frames = s.rows.keys[i].frames, parts = m.n.parts;
        for (std::int64_t j = 0; j < o.max_length; ++j) {
            const bool inside = j < s.done_length[i * o.beams];
            const std::int64_t from = inside ? record_row(j, hypothesis(s.done, i, 0)[j].row) : 0;
            const auto copy = [&](const T* record, T* output, std::int64_t used, std::int64_t size) {
                T* to = output + (b * o.max_length + j) * size;
                used = inside ? used : 0;
                std::copy_n(record + from * size, used, to);
                std::fill(to + used, to + size, T(0));
            };
            copy(s.record.window, out.window, frames, m.n.frames);
            copy(s.record.alpha, out.spatial, frames * parts, m.n.frames * parts);
            copy(s.record.mean, out.mean, 1, 1);
            copy(s.record.std, out.std, 1, 1);
            copy(s.record.gate, out.gate, 1, 1);
        }
    }
};

}  // namespace

template <typename T>
void search(const DecodeModel<T>& model, const SearchOptions& options, const SearchOutputs<T>& out, int threads,
            InstructionSet isa) {
    const DecodeKernels<T> kernel = decode_kernels<T>(isa);
    const DecodeSizes& n = model.n;
    const auto bytes = static_cast<std::int64_t>(sizeof(T)) * n.frames *
                       (2 * n.slots * n.step(sizeof(T)) + options.beams * options.max_length * (1 + n.parts));
    const Groups groups(n.batch, kSearchRows / options.beams, bytes, threads);
    if (n.batch == 0) return;
    Layout layout(nullptr);
    const SearchSpace<T> measured(n, options, groups.largest, layout);
    const Workspaces workspaces(threads, layout.bytes());
    const PackedModel<T> packed(model, kernel, threads);
    parallel_for_uneven(groups.count, threads, [&](std::int64_t group, int thread) {
        Layout memory(workspaces.of(thread));
        prefer_huge_pages(workspaces.of(thread), layout.bytes());
        SearchSpace<T> space(n, options, groups.largest, memory);
        GroupSearch<T>{packed.get(), kernel, options, out, groups, group, space}.run();
    });
}

template void search<float>(const DecodeModel<float>&, const SearchOptions&, const SearchOutputs<float>&, int,
                            InstructionSet);
template void search<double>(const DecodeModel<double>&, const SearchOptions&, const SearchOutputs<double>&, int,
                             InstructionSet);

}  // namespace m2t
