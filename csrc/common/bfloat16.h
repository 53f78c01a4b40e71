// bfloat16 as it is stored: the upper half of a float.
#pragma once

#include <cstdint>

namespace m2t {

struct BFloat16 {
    std::uint16_t bits;
};

// What is computed with numbers stored as S: S itself, or float for BFloat16.
template <typename S>
struct Widened {
    using Type = S;
};
template <>
struct Widened<BFloat16> {
    using Type = float;
};
template <typename S>
using WideOf = typename Widened<S>::Type;

}  // namespace m2t
