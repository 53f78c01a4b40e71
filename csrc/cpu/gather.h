// Gathers motions of a ragged store into a padded batch, standardised and root-relative.
#pragma once

#include <cstdint>

#include "common/record.h"

namespace m2t {

struct GatherSizes {
    M2T_FIELDS(
        std::int64_t rows, motions;  // frames of all motions together, and their number
        std::int64_t batch, frames;  // motions wanted, and frames of the result
        std::int64_t joints;
    )
};

template <typename T>
struct GatherInputs {
    M2T_FIELDS(
        const T* frames;                      // (rows, J, 3), joint 0 the root
        const std::int64_t *offsets, *index;  // (motions + 1), (B)
        const T *mean, *std;                  // (3) each, or both null: the frames are standardised
    )
};

template <typename T>
struct GatherOutput {
    M2T_FIELDS(T* motion;)  // (B, T, J, 3)
};

// Writes every joint but the root relative to the root of its frame, 0 behind the end of a motion. Reads
// nothing outside `frames`: a motion that is not there is empty, a longer one than T is cut.
template <typename T>
void gather_motions(const GatherSizes& sizes, const GatherInputs<T>& in, const GatherOutput<T>& out, int threads);

}  // namespace m2t
