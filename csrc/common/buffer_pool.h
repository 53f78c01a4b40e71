// Large pieces of memory that are used again.
//
// An allocator gives large pieces back to the operating system, which clears the pages of the next one: for results of
// 100 MiB that takes longer than to compute them. Here a piece that is no longer needed waits for the next of its size.
#pragma once

#include <cstddef>

namespace m2t {

// Memory for a result, from the pool and back to it. Its contents are not defined.
class Buffer {
public:
    explicit Buffer(std::size_t bytes);
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void* data() const { return data_; }
    std::size_t bytes() const { return bytes_; }

private:
    void* data_;
    std::size_t bytes_, size_;
};

// Free memory that the pool keeps at most, and keeps.
void set_pool_limit(std::size_t bytes);
std::size_t pool_bytes();

}  // namespace m2t
