// Copies ragged rows into a padded batch.
#pragma once

#include <cstdint>

#include "common/record.h"

namespace m2t {

struct RaggedRows {
    M2T_FIELDS(
        const std::uint8_t* values;  // sample m is rows [offsets[m], offsets[m + 1]), each row_bytes long
        const std::int64_t *offsets, *index;
        std::int64_t count, width, row_bytes;
        const std::uint8_t* fill;  // an element
        std::int64_t item_bytes;   // of an element, a divisor of row_bytes
        std::uint8_t* out;         // (count, width, row_bytes)
    )
};

// Writes samples index[0..count) to `out`, and repeats the element at `fill` over the rows that a sample does not
// reach.
//
// The caller has checked that every index is in range, that 0 <= length <= width for every sample named by `index`,
// that its rows lie inside `values`, and that `out` does not overlap any input.
void pack_ragged(const RaggedRows& task, int threads);

}  // namespace m2t
