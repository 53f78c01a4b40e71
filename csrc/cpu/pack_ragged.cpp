// Copies ragged rows into a padded batch, one sample per thread at a time.
#include "cpu/pack_ragged.h"

#include <algorithm>
#include <cstring>

#include "common/parallel.h"

namespace m2t {
namespace {

// Repeats the item over `bytes` bytes. What is already written is copied behind itself, so that the number of memcpy
// calls grows with the logarithm of the size and an item of any size runs at memcpy's speed.
void fill_with(unsigned char* out, std::int64_t bytes, const unsigned char* item, std::int64_t item_bytes) {
    if (bytes <= 0) return;
    std::memcpy(out, item, static_cast<std::size_t>(item_bytes));
    for (std::int64_t done = item_bytes; done < bytes;) {
        const std::int64_t step = std::min(done, bytes - done);
        std::memcpy(out + done, out, static_cast<std::size_t>(step));
        done += step;
    }
}

}  // namespace

void pack_ragged(const unsigned char* values, const std::int64_t* offsets, const std::int64_t* index,
                 std::int64_t count, std::int64_t width, std::int64_t row_bytes, const unsigned char* fill,
                 std::int64_t item_bytes, unsigned char* out, int threads) {
    parallel_for(count, threads, [=](std::int64_t i) {
        const std::int64_t begin = offsets[index[i]];
        const std::int64_t used = (offsets[index[i] + 1] - begin) * row_bytes;
        unsigned char* sample = out + i * width * row_bytes;
        if (used > 0) std::memcpy(sample, values + begin * row_bytes, static_cast<std::size_t>(used));
        fill_with(sample + used, width * row_bytes - used, fill, item_bytes);
    });
}

}  // namespace m2t
