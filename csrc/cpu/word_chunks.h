// Divides the words of a batch among threads.
#pragma once

#include <algorithm>
#include <cstdint>

namespace m2t {

// Pieces of equal length, a multiple of four words, of every sequence: all words at once read a sequence's keys once,
// and with few sequences several threads share one.
struct WordChunks {
    std::int64_t words;   // of a piece; the last of a sequence may have fewer
    std::int64_t chunks;  // of a sequence

    WordChunks(std::int64_t batch, std::int64_t all_words, int threads) {
        const std::int64_t wanted = 4 * static_cast<std::int64_t>(std::max(threads, 1));
        const std::int64_t cuts = batch >= wanted || batch == 0 ? 1 : (wanted + batch - 1) / batch;
        words = std::max<std::int64_t>(4, ((all_words + cuts - 1) / cuts + 3) / 4 * 4);
        chunks = (all_words + words - 1) / words;
    }
};

}  // namespace m2t
