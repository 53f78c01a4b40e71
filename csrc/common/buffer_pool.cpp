// A list of free pieces under a lock: pieces are few and large, so it is short and seldom asked.
#include "common/buffer_pool.h"

#include <algorithm>
#include <cstdint>
#include <list>
#include <mutex>
#include <new>

#include "common/huge_pages.h"

namespace m2t {
namespace {

constexpr std::size_t kPage = std::size_t(2) << 20;

struct Piece {
    void* data;
    std::size_t size;
};

void release(const Piece& piece) { ::operator delete(piece.data, std::align_val_t(kPage)); }

// Free pieces, those freed last in front.
class Pool {
public:
    Piece take(std::size_t bytes) {
        const std::size_t wanted = std::max<std::size_t>(1, (bytes + kPage - 1) / kPage) * kPage;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (auto piece = free_.begin(); piece != free_.end(); ++piece) {
                // A piece that is much too large is left to a result that needs it.
                if (piece->size >= wanted && piece->size - wanted <= wanted / 4) {
                    const Piece found = *piece;
                    held_ -= found.size;
                    free_.erase(piece);
                    return found;
                }
            }
        }
        const Piece fresh = {::operator new(wanted, std::align_val_t(kPage)), wanted};
        prefer_huge_pages(fresh.data, fresh.size);
        return fresh;
    }

    void give_back(const Piece& piece) {
        const std::lock_guard<std::mutex> lock(mutex_);
        free_.push_front(piece);
        held_ += piece.size;
        trim();
    }

    void set_limit(std::size_t bytes) {
        const std::lock_guard<std::mutex> lock(mutex_);
        limit_ = bytes;
        trim();
    }

    std::size_t held() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return held_;
    }

private:
    void trim() {
        while (held_ > limit_) {
            held_ -= free_.back().size;
            release(free_.back());
            free_.pop_back();
        }
    }

    std::mutex mutex_;
    std::list<Piece> free_;
    std::size_t held_ = 0, limit_ = 0;
};

// Never destroyed: results may outlive everything else when a process ends.
Pool& pool() {
    static Pool* const instance = new Pool;
    return *instance;
}

}  // namespace

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
    const Piece piece = pool().take(bytes);
    data_ = piece.data;
    size_ = piece.size;
}

Buffer::~Buffer() { pool().give_back({data_, size_}); }

void set_pool_limit(std::size_t bytes) { pool().set_limit(bytes); }

std::size_t pool_bytes() { return pool().held(); }

}  // namespace m2t
