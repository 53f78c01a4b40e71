// The loops that the CPU kernels are parallelised with.
#pragma once

#include <cstdint>
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "common/waiting.h"

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
    note_team(threads);
    if (threads > count) threads = static_cast<int>(count);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t i = 0; i < count; ++i) body(i);
}

// parallel_for for items of unequal cost: a thread takes the next item when it has finished one. Calls body(i, thread)
// with 0 <= thread < threads, for workspace that belongs to a thread.
template <typename Body>
void parallel_for_uneven(std::int64_t count, int threads, const Body& body) {
    if (threads <= 1 || count <= 1) {
        for (std::int64_t i = 0; i < count; ++i) body(i, 0);
        return;
    }
    note_team(threads);
    if (threads > count) threads = static_cast<int>(count);
#pragma omp parallel num_threads(threads)
    {
#if defined(_OPENMP)
        const int thread = omp_get_thread_num();
#else
        const int thread = 0;
#endif
#pragma omp for schedule(dynamic)
        for (std::int64_t i = 0; i < count; ++i) body(i, thread);
    }
}

}  // namespace m2t
