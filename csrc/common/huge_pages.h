// Asks the operating system to back large results with large pages.
#pragma once

#include <cstddef>

namespace m2t {

// For fresh memory that is about to be written throughout. A result of 100 MiB in pages of 4 KiB costs 25,000 page
// faults, as much time as a good part of its computation. Nothing happens to small results, nor outside Linux.
void prefer_huge_pages(void* memory, std::size_t bytes);

}  // namespace m2t
