// The spatial attention loss (eq. 13) and its gradient on the processor.
#pragma once

#include <cstdint>

namespace pybind11 {
class module_;
}

namespace m2t {

// spatial is (batch, words, frames, parts), target (batch, words, parts): 1, 0 or negative (not counted).
struct SpatialLossSizes {
    std::int64_t batch, words, frames, parts;
};

// Mean of the binary cross entropy over what is counted; 0 if nothing is.
template <typename T>
T spatial_loss(const SpatialLossSizes& sizes, const T* spatial, const T* target, const std::int64_t* lengths,
               int threads);

// Fills out (batch, words, frames, parts) with the gradient of `grad` times the loss.
template <typename T>
void spatial_loss_backward(const SpatialLossSizes& sizes, const T* spatial, const T* target,
                           const std::int64_t* lengths, double grad, T* out, int threads);

// Adds both to the Python module.
void bind_spatial_loss(pybind11::module_& module);

}  // namespace m2t
