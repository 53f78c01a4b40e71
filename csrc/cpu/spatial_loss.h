// The spatial attention loss (eq. 13) and its gradient on the processor.
#pragma once

#include <cstdint>

#include "common/record.h"

namespace m2t {

// spatial is (batch, words, frames, parts), target (batch, words, parts): 1, 0 or negative (not counted).
struct SpatialLossSizes {
    M2T_FIELDS(
        std::int64_t batch, words, frames, parts;
    )
};

template <typename T>
struct SpatialLossInputs {
    M2T_FIELDS(const T *spatial, *target; const std::int64_t* lengths;)
};

template <typename T>
struct SpatialLossOutput {
    M2T_FIELDS(T* out;)
};

// Mean of the binary cross entropy over what is counted, a scalar; 0 if nothing is.
template <typename T>
void spatial_loss_forward(const SpatialLossSizes& sizes, const SpatialLossInputs<T>& in,
                          const SpatialLossOutput<T>& out, int threads);

// (batch, words, frames, parts): the gradient of `grad` times the loss.
template <typename T>
void spatial_loss_backward(const SpatialLossSizes& sizes, const SpatialLossInputs<T>& in, double grad,
                           const SpatialLossOutput<T>& out, int threads);

}  // namespace m2t
