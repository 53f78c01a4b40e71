// What both ways of decoding share: packed weights, the split in groups, and rows that change places.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "common/huge_pages.h"
#include "common/parallel.h"
#include "cpu/decode.h"

namespace m2t {

// A copy of the model whose layers are packed, and the memory that holds them.
template <typename T>
class PackedModel {
public:
    PackedModel(const DecodeModel<T>& model, const DecodeKernels<T>& kernel, int threads) : model_(model) {
        const std::array<Layer<T>*, 7> layers = {&model_.bottom,   &model_.top,     &model_.query, &model_.context,
                                                 &model_.language, &model_.mixture, &model_.output};
        std::array<std::int64_t, 8> first = {};
        Layout sizes(nullptr);
        T* unused = nullptr;
        for (std::size_t i = 0; i < layers.size(); ++i) {
            sizes.take(unused, kernel.packed_size(layers[i]->columns, layers[i]->terms));
            first[i + 1] = first[i] + kernel.panels(layers[i]->columns);
        }
        memory_ = std::make_unique<Workspaces>(1, sizes.bytes());
        prefer_huge_pages(memory_->of(0), sizes.bytes());
        Layout layout(memory_->of(0));
        std::array<T*, 7> packed = {};
        for (std::size_t i = 0; i < layers.size(); ++i) {
            layout.take(packed[i], kernel.packed_size(layers[i]->columns, layers[i]->terms));
            layers[i]->packed = packed[i];
        }
        parallel_for_uneven(first.back(), threads, [&](std::int64_t panel, int) {
            std::size_t i = 0;
            while (panel >= first[i + 1]) ++i;
            kernel.pack(layers[i]->weight, layers[i]->columns, layers[i]->terms, panel - first[i], packed[i]);
        });
    }

    const DecodeModel<T>& get() const { return model_; }

private:
    DecodeModel<T> model_;
    std::unique_ptr<Workspaces> memory_;
};

// Bytes of keys and recorded attention that a group may take: more motions at a time are no faster.
constexpr std::int64_t kGroupBytes = std::int64_t(128) << 20;

// The split of a batch: motion i of group g is motion g + i * count. A motion's result does not depend on its group,
// so the split may depend on the number of threads.
struct Groups {
    std::int64_t batch, count, largest;

    // Groups of `most` motions at most, as many for every thread where possible.
    Groups(std::int64_t motions, std::int64_t most, std::int64_t bytes_of_motion, int threads) : batch(motions) {
        most = std::max<std::int64_t>(1, std::min(most, kGroupBytes / std::max<std::int64_t>(1, bytes_of_motion)));
        const std::int64_t parallel = std::max(threads, 1);
        count = (batch + most - 1) / most;
        count = std::min(batch, (count + parallel - 1) / parallel * parallel);
        largest = count == 0 ? 0 : (batch + count - 1) / count;
    }
    std::int64_t size(std::int64_t group) const { return (batch - group + count - 1) / count; }
    std::int64_t motion(std::int64_t group, std::int64_t i) const { return group + i * count; }
};

// Fills the keys of every motion of the group.
template <typename T>
void prepare_group(const DecodeModel<T>& model, const DecodeKernels<T>& kernel, const Groups& groups,
                   std::int64_t group, DecodeRows<T>& rows) {
    kernel.prepare_weights(model, rows);
    for (std::int64_t i = 0; i < groups.size(group); ++i) {
        kernel.prepare_motion(model, rows, groups.motion(group, i), i);
    }
}

template <typename T>
void clear_state(const RowState<T>& state, std::int64_t elements) {
    for (T* x : {state.hidden, state.cell, state.top, state.top_cell}) std::fill_n(x, elements, T(0));
}

// Reads the embeddings of the rows' words.
template <typename T>
void embed(const DecodeModel<T>& model, DecodeRows<T>& rows) {
    const std::int64_t size = model.n.word;
    for (std::int64_t r = 0; r < rows.count; ++r) {
        std::copy_n(model.embedding + rows.state.word[r] * size, size, rows.embedded + r * size);
    }
}

}  // namespace m2t
