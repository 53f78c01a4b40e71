// The seven layers of a word: what their inputs are, and what becomes of their sums.
#pragma once

#include <cmath>

#include "cuda/decode_state.h"

namespace m2t::cuda {

// Where a row of a layer's input comes from: an embedding with its dropout factors, then one or two arrays of scratch.
template <typename T>
struct LayerInput {
    const T* dropout;
    const float *first, *second;
    int word, first_size, second_size;
    bool first_before, second_before;  // read at the row of the word before, which may not exist
};

template <typename T>
M2T_DEVICE LayerInput<T> input_of(const Team<T>& t, int layer) {
    const Decode<T>& d = t.d;
    const DecodeScratch<T>& s = d.s;
    const int hidden = d.n.hidden;
    switch (layer) {
        case kBottom: return {d.sample.input_dropout, t.before(s.hidden), nullptr, d.n.word, hidden, 0, true, false};
        case kTop: return {nullptr, t.after(s.hidden), t.before(s.top), 0, hidden, hidden, false, true};
        case kQuery: return {nullptr, t.after(s.hidden), nullptr, 0, hidden, 0, false, false};
        case kLanguage: return {nullptr, t.after(s.top), nullptr, 0, hidden, 0, false, false};
        case kContext: return {nullptr, s.context, nullptr, 0, d.n.part_dim, 0, false, false};
        case kMixture:
            return {d.sample.mixed_dropout,
                    s.adaptive,
                    t.after(s.hidden),
                    d.n.word,
                    d.n.attention_dim,
                    hidden,
                    false,
                    false};
        default: return {nullptr, s.features, nullptr, 0, d.n.mixture, 0, false, false};
    }
}

// Term `k` of the input of entry i of the list.
template <typename T>
M2T_DEVICE float input_value(const Team<T>& t, const LayerInput<T>& in, int i, int k) {
    const DecodeSizes& n = t.d.n;
    if (k < in.word) {
        const float x = to_float(t.d.w.embedding[static_cast<std::int64_t>(t.word(i)) * n.word + k]);
        if (in.dropout == nullptr) return x;
        const std::int64_t at = static_cast<std::int64_t>(t.motion(i)) * t.d.o.max_length + t.step(i);
        return x * to_float(in.dropout[at * n.word + k]);
    }
    k -= in.word;
    if (k < in.first_size) {
        const int row = in.first_before ? t.from(i) : t.row(i);
        return row < 0 ? 0.0f : in.first[static_cast<std::int64_t>(row) * in.first_size + k];
    }
    k -= in.first_size;
    if (k >= in.second_size) return 0.0f;
    const int row = in.second_before ? t.from(i) : t.row(i);
    return row < 0 ? 0.0f : in.second[static_cast<std::int64_t>(row) * in.second_size + k];
}

// Terms k to k + 3, from a multiple of 4 on.
template <typename T>
M2T_DEVICE Vec4 input_values(const Team<T>& t, const LayerInput<T>& in, int i, int k) {
    if (!t.d.aligned_inputs) {
        Vec4 x;
        M2T_UNROLL
        for (int c = 0; c < 4; ++c) x.x[c] = input_value(t, in, i, k + c);
        return x;
    }
    if (k < in.word) {
        Vec4 x = load_vec4(t.d.w.embedding + static_cast<std::int64_t>(t.word(i)) * in.word + k);
        if (in.dropout == nullptr) return x;
        const std::int64_t at = static_cast<std::int64_t>(t.motion(i)) * t.d.o.max_length + t.step(i);
        const Vec4 factor = load_vec4(in.dropout + at * in.word + k);
        M2T_UNROLL
        for (int c = 0; c < 4; ++c) x.x[c] *= factor.x[c];
        return x;
    }
    const bool first = k < in.word + in.first_size;
    k -= first ? in.word : in.word + in.first_size;
    const int size = first ? in.first_size : in.second_size;
    const int row = (first ? in.first_before : in.second_before) ? t.from(i) : t.row(i);
    if (row < 0 || k >= size) return {};
    return load_vec4((first ? in.first : in.second) + static_cast<std::int64_t>(row) * size + k);
}

// Four columns of an LSTM: the gates of one unit.
template <typename T>
M2T_DEVICE void end_lstm(const Team<T>& t, bool bottom, int i, int unit, const Vec4& sum) {
    const int size = t.d.n.hidden;
    if (unit >= size) return;
    const DecoderWeights<T>& w = t.d.w;
    const T* first = bottom ? w.bottom_input_bias : w.top_input_bias;
    const T* second = bottom ? w.bottom_hidden_bias : w.top_hidden_bias;
    float gate[4];
    M2T_UNROLL
    for (int g = 0; g < 4; ++g) {
        gate[g] = sum.x[g] + (to_float(first[g * size + unit]) + to_float(second[g * size + unit]));
    }
    float* cells = bottom ? t.d.s.cell : t.d.s.top_cell;
    const int from = t.from(i);
    const std::int64_t to = static_cast<std::int64_t>(t.row(i)) * size + unit;
    const float old = from < 0 ? 0.0f : t.before(cells)[static_cast<std::int64_t>(from) * size + unit];
    const float cell = sigmoid(gate[1]) * old + sigmoid(gate[0]) * exact_tanh(gate[2]);
    t.after(cells)[to] = cell;
    t.after(bottom ? t.d.s.hidden : t.d.s.top)[to] = sigmoid(gate[3]) * exact_tanh(cell);
}

// Four logits, and what a warp's 128 of them have in common.
template <typename T>
M2T_DEVICE void end_output(const Team<T>& t, int i, int column, const Vec4& sum) {
    const int row = t.row(i), columns = t.d.layer[kOutput].columns;
    Vec4 logits;
    float most = -INFINITY;
    M2T_UNROLL
    for (int c = 0; c < 4; ++c) {
        const bool inside = column + c < t.d.n.vocabulary;
        logits.x[c] = inside ? sum.x[c] + to_float(t.d.w.output_bias[column + c]) : -INFINITY;
        most = fmaxf(most, logits.x[c]);
    }
    store_vec4(t.d.s.logits + static_cast<std::int64_t>(row) * columns + column, logits);
    most = warp_max(most);
    const float base = most == -INFINITY ? 0.0f : most;
    float total = 0.0f;
    M2T_UNROLL
    for (int c = 0; c < 4; ++c) total += expf(logits.x[c] - base);
    total = warp_sum(total);
    if (t.lane() == 0) {
        const std::int64_t tile = static_cast<std::int64_t>(row) * (columns / kColumns) + column / kColumns;
        t.d.s.tile_max[tile] = most;
        t.d.s.tile_sum[tile] = total;
    }
}

// What becomes of the sums of columns `column` to `column` + 3 of entry i; all lanes of a warp have the same entry.
template <typename T>
M2T_DEVICE void end_layer(const Team<T>& t, int layer, int i, int column, const Vec4& sum) {
    if (layer <= kTop) return end_lstm(t, layer == kBottom, i, column / 4, sum);
    if (layer == kOutput) return end_output(t, i, column, sum);
    const Decode<T>& d = t.d;
    const DecodeScratch<T>& s = d.s;
    const std::int64_t row = t.row(i);
    const int dim = d.n.attention_dim, padded = 4 * vectors_of(dim);
    M2T_UNROLL
    for (int c = 0; c < 4; ++c) {
        const int j = column + c;
        if (layer == kQuery) {
            if (j >= 2 * padded) continue;
            const int k = j < padded ? j : j - padded;
            const T* bias = j < padded ? d.w.temporal_query_bias : d.w.spatial_query_bias;
            s.query[row * 2 * padded + j] = sum.x[c] + (k < dim ? to_float(bias[k]) : 0.0f);
        } else if (layer == kMixture) {
            if (j >= d.n.mixture) continue;
            s.features[row * d.n.mixture + j] = exact_tanh(sum.x[c] + to_float(d.w.mixture_bias[j]));
        } else if (j < dim) {
            const T* bias = layer == kLanguage ? d.w.language_bias : d.w.context_bias;
            const float y = exact_tanh(sum.x[c] + to_float(bias[j]));
            if (layer == kLanguage) {
                s.language[row * dim + j] = y;
            } else {
                const float gate = s.gate[row];
                s.adaptive[row * dim + j] = gate * y + (1.0f - gate) * s.language[row * dim + j];
            }
        }
    }
}

}  // namespace m2t::cuda
