// Coins and dropout factors of a training step from the counter-based generator Philox 4x32-10.
#pragma once

#include <cstdint>

namespace pybind11 {
class module_;
}

namespace m2t {

struct DrawsSizes {
    std::int64_t batch, words, channels;
};

// state is {seed, step}, rows (batch) or null for 0, 1, ...; coins (words) bytes; first and second (batch, words,
// channels): `factor` where a random 32-bit word is below keep_threshold, else 0.
template <typename T>
void random_draws(const DrawsSizes& sizes, const std::int64_t* state, const std::int64_t* rows,
                  std::uint64_t coin_threshold, std::uint64_t keep_threshold, T factor, std::uint8_t* coins, T* first,
                  T* second, int threads);

// Adds it to the Python module.
void bind_draws(pybind11::module_& module);

}  // namespace m2t
