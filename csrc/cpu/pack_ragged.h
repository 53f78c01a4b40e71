// Copies ragged rows into a padded batch.
#pragma once

#include <cstdint>

namespace m2t {

// Ragged storage: sample m is rows [offsets[m], offsets[m + 1]) of `values`, each row `row_bytes` long.
// Writes samples index[0..count) to `out`, laid out (count, width, row_bytes), and repeats the element at `fill`
// (`item_bytes` long, a divisor of `row_bytes`) over the rows that a sample does not reach.
//
// The caller has checked that every index is in range, that 0 <= length <= width for every sample named by `index`,
// that its rows lie inside `values`, and that `out` does not overlap any input.
void pack_ragged(const unsigned char* values, const std::int64_t* offsets, const std::int64_t* index,
                 std::int64_t count, std::int64_t width, std::int64_t row_bytes, const unsigned char* fill,
                 std::int64_t item_bytes, unsigned char* out, int threads);

}  // namespace m2t
