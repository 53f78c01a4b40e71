// The one loop that every CPU kernel is parallelised with.
#pragma once

#include <cstdint>

namespace m2t {

// Calls body(i) once for every i in [0, count), on up to `threads` threads; body must not throw.
//
// Which thread runs which i never changes a result, so a body that writes only to its own i is deterministic.
// One thread means no OpenMP call at all: libgomp's pool does not survive fork(), and a data loader's worker process,
// where torch sets one thread, must be able to run a kernel after its parent did.
template <typename Body>
void parallel_for(std::int64_t count, int threads, const Body& body) {
    if (threads <= 1 || count <= 1) {
        for (std::int64_t i = 0; i < count; ++i) body(i);
        return;
    }
    if (threads > count) threads = static_cast<int>(count);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t i = 0; i < count; ++i) body(i);
}

}  // namespace m2t
