// Copies ragged rows into a padded batch, one sample per thread at a time.
#include "cpu/pack_ragged.h"

#include <algorithm>
#include <cstring>

#include "common/functions.h"
#include "common/parallel.h"

namespace m2t {
namespace {

// Repeats the item over `bytes` bytes. What is already written is copied behind itself, so that the number of memcpy
// calls grows with the logarithm of the size and an item of any size runs at memcpy's speed.
void fill_with(std::uint8_t* out, std::int64_t bytes, const std::uint8_t* item, std::int64_t item_bytes) {
    if (bytes <= 0) return;
    std::memcpy(out, item, static_cast<std::size_t>(item_bytes));
    for (std::int64_t done = item_bytes; done < bytes;) {
        const std::int64_t step = std::min(done, bytes - done);
        std::memcpy(out + done, out, static_cast<std::size_t>(step));
        done += step;
    }
}

}  // namespace

void pack_ragged(const RaggedRows& task, int threads) {
    parallel_for(task.count, threads, [=](std::int64_t i) {
        const std::int64_t begin = task.offsets[task.index[i]], bytes = task.width * task.row_bytes;
        const std::int64_t used = (task.offsets[task.index[i] + 1] - begin) * task.row_bytes;
        std::uint8_t* sample = task.out + i * bytes;
        if (used > 0) std::memcpy(sample, task.values + begin * task.row_bytes, static_cast<std::size_t>(used));
        fill_with(sample + used, bytes - used, task.fill, task.item_bytes);
    });
}

namespace {

const Registered registered([](Functions& to) { to.function("pack_ragged", pack_ragged, {"task", "threads"}); });

}  // namespace
}  // namespace m2t
