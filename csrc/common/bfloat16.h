// bfloat16 as it is stored: the upper half of a float.
#pragma once

#include <cstdint>

namespace m2t {

struct BFloat16 {
    std::uint16_t bits;
};

}  // namespace m2t
