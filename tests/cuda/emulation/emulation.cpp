// Fibers, barriers, shuffles and shared memory of the emulated device.
#include "emulation.h"

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

namespace m2t::cuda::emulation {

Thread* current = nullptr;
Index block_size = {1, 1, 1}, grid_size = {1, 1, 1};
unsigned cluster_size = 1;
DeviceLimits limits = {132, 232448, 90};
Order order = Order::forward;
std::uint64_t launches = 0, switches = 0;
bool planning = false;
std::vector<Planned> planned;

namespace {

constexpr std::size_t kStack = 128 * 1024;
constexpr std::size_t kGuard = 64;         // bytes behind shared memory that nobody may write
constexpr std::size_t kLargestValue = 16;  // bytes that a lane gives to a shuffle
constexpr unsigned char kPoison = 0xff;    // four of them are a NaN, as float and as bfloat16

enum class Waiting { no, block, cluster, warp, ended };

struct Fiber : Thread {
    Waiting waiting = Waiting::no;
    unsigned block_number = 0, warp_number = 0;  // in the cluster
    std::jmp_buf saved;
    ucontext_t first;
    bool started = false;
};

// What the lanes of a warp exchange: two buffers in turn, so that a fast lane does not overwrite what a slow one reads.
struct Warp {
    unsigned char values[2][32 * kLargestValue];
    unsigned lanes = 0, arrived = 0, turn = 0;
    std::size_t bytes = 0;
};

class Stacks {
public:
    void* at(std::size_t i) {
        while (stacks_.size() <= i) {
            void* stack =
                mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (stack == MAP_FAILED) throw std::runtime_error("emulation: no memory for the threads' stacks");
            stacks_.push_back(stack);
        }
        return stacks_[i];
    }
    ~Stacks() {
        for (void* stack : stacks_) munmap(stack, kStack);
    }

private:
    std::vector<void*> stacks_;
};

Stacks stacks;
std::jmp_buf scheduler;
std::vector<Fiber> fibers;
std::vector<Warp> warps;
std::vector<std::vector<unsigned char>> shared;  // of each block of the cluster
std::vector<unsigned> live, arrived;             // threads of each block: not ended; at its barrier
unsigned cluster_live, cluster_arrived;
const std::function<void()>* body;
std::string error;  // of the fiber that could not go on

Fiber& self() { return *static_cast<Fiber*>(current); }

void yield() {
    ++switches;
    if (_setjmp(self().saved) == 0) _longjmp(scheduler, 1);
}

void wait(Waiting what) {
    self().waiting = what;
    yield();
}

void release(Waiting what, unsigned block_number) {
    for (Fiber& fiber : fibers) {
        if (fiber.waiting == what && (what == Waiting::cluster || fiber.block_number == block_number)) {
            fiber.waiting = Waiting::no;
        }
    }
}

// An ended thread no longer counts at barriers, as on a device.
void barriers_passed(unsigned block_number) {
    if (live[block_number] > 0 && arrived[block_number] == live[block_number]) {
        arrived[block_number] = 0;
        release(Waiting::block, block_number);
    }
    if (cluster_live > 0 && cluster_arrived == cluster_live) {
        cluster_arrived = 0;
        release(Waiting::cluster, 0);
    }
}

void entry() {
    (*body)();
    Fiber& fiber = self();
    fiber.waiting = Waiting::ended;
    --live[fiber.block_number];
    --cluster_live;
    --warps[fiber.warp_number].lanes;
    barriers_passed(fiber.block_number);
    _longjmp(scheduler, 1);
}

// Runs the fiber until it waits or ends.
void resume(Fiber& fiber) {
    current = &fiber;
    if (_setjmp(scheduler) == 0) {
        if (fiber.started) _longjmp(fiber.saved, 1);
        fiber.started = true;
        setcontext(&fiber.first);
    }
}

// A turn for `count` fibers from this one on. False if none of them could move.
bool give_turns(std::size_t first, std::size_t count) {
    bool moved = false;
    for (std::size_t i = first; i < first + count; ++i) {
        if (fibers[i].waiting != Waiting::no) continue;
        resume(fibers[i]);
        if (!error.empty()) throw std::runtime_error("emulation: " + error);
        moved = true;
    }
    return moved;
}

void run_cluster(unsigned threads) {
    const std::size_t together = order == Order::warps ? 32 : 1;
    std::vector<std::size_t> turns(fibers.size() / together);  // the first fiber of each
    for (std::size_t i = 0; i < turns.size(); ++i) turns[i] = i * together;
    if (order == Order::backward) std::reverse(turns.begin(), turns.end());
    std::mt19937 random(static_cast<unsigned>(launches));
    while (cluster_live > 0) {
        if (order == Order::shuffled || order == Order::warps) std::shuffle(turns.begin(), turns.end(), random);
        bool moved = false;
        for (const std::size_t first : turns) {
            while (give_turns(first, together)) {
                moved = true;
                if (order != Order::warps) break;
            }
        }
        if (!moved && cluster_live > 0) {
            throw std::runtime_error("emulation: threads wait for one another for ever (block of " +
                                     std::to_string(threads) + " threads)");
        }
    }
}

// Fresh fibers for the cluster whose first block has this number.
void start(std::uint64_t first, const Index& blocks, unsigned threads) {
    for (std::size_t i = 0; i < fibers.size(); ++i) {
        Fiber& fiber = fibers[i];
        const auto number = static_cast<unsigned>(i) / threads, thread = static_cast<unsigned>(i) % threads;
        const std::uint64_t block = first + number;
        fiber.thread = {thread, 0, 0};
        fiber.block = {static_cast<unsigned>(block % blocks.x), static_cast<unsigned>(block / blocks.x % blocks.y),
                       static_cast<unsigned>(block / blocks.x / blocks.y)};
        fiber.cluster_rank = fiber.block_number = number;
        fiber.warp_number = number * (threads / 32) + thread / 32;
        ++warps[fiber.warp_number].lanes;
        fiber.waiting = Waiting::no, fiber.started = false;
        getcontext(&fiber.first);
        fiber.first.uc_stack.ss_sp = stacks.at(i), fiber.first.uc_stack.ss_size = kStack;
        fiber.first.uc_link = nullptr;
        makecontext(&fiber.first, entry, 0);
    }
}

}  // namespace

// A fiber has nobody above it to catch an exception: the scheduler throws for it.
void stop(const char* text) {
    error = text;
    _longjmp(scheduler, 1);
}

void check_aligned(const void* address, std::size_t bytes) {
    if (reinterpret_cast<std::uintptr_t>(address) % bytes != 0) stop("a vector is loaded from an odd address");
}

void* shared_memory() { return shared[self().block_number].data(); }

void block_barrier() {
    const unsigned block_number = self().block_number;
    ++arrived[block_number];
    self().waiting = Waiting::block;
    barriers_passed(block_number);
    yield();
}

void cluster_barrier() {
    ++cluster_arrived;
    self().waiting = Waiting::cluster;
    barriers_passed(self().block_number);
    yield();
}

const unsigned char* warp_exchange(const void* value, std::size_t bytes, unsigned mask) {
    Warp& warp = warps[self().warp_number];
    if (mask != 0xffffffffu || warp.lanes != 32) stop("a shuffle needs all 32 lanes");
    if (warp.arrived == 0) warp.bytes = bytes;
    if (bytes != warp.bytes) stop("lanes of a warp wait at different places");
    const unsigned turn = warp.turn;
    std::memcpy(warp.values[turn] + (self().thread.x % 32) * bytes, value, bytes);
    if (++warp.arrived < 32) {
        wait(Waiting::warp);
    } else {
        warp.arrived = 0;
        warp.turn ^= 1;
        for (Fiber& fiber : fibers) {
            if (fiber.warp_number == self().warp_number && fiber.waiting == Waiting::warp) fiber.waiting = Waiting::no;
        }
    }
    return warp.values[turn];
}

void run(const Index& blocks, unsigned threads, std::size_t shared_bytes, unsigned cluster,
         const std::function<void()>& thread_body) {
    const auto fail = [](const std::string& text) { throw std::runtime_error("cudaLaunchKernelEx: " + text); };
    if (threads == 0 || threads % 32 != 0 || threads > 1024)
        fail("a block has " + std::to_string(threads) + " threads");
    if (static_cast<std::size_t>(limits.shared_bytes) < shared_bytes) {
        fail(std::to_string(shared_bytes) + " bytes of shared memory");
    }
    if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0 || blocks.x > 0x7fffffffu || blocks.y > 65535 ||
        blocks.z > 65535) {
        fail("invalid grid");
    }
    if (cluster == 0 || cluster > 16 || blocks.x % cluster != 0 || (cluster > 1 && limits.capability < 90)) {
        fail("a cluster of " + std::to_string(cluster) + " blocks");
    }
    if (planning) {
        planned.push_back({blocks, threads, cluster, shared_bytes});
        return;
    }
    ++launches;
    error.clear();
    block_size = {threads, 1, 1}, grid_size = blocks, cluster_size = cluster, body = &thread_body;
    const unsigned warps_of_block = threads / 32;
    fibers = std::vector<Fiber>(static_cast<std::size_t>(threads) * cluster);
    for (std::uint64_t first = 0; first < std::uint64_t{blocks.x} * blocks.y * blocks.z; first += cluster) {
        warps.assign(static_cast<std::size_t>(warps_of_block) * cluster, Warp{});
        shared.assign(cluster, std::vector<unsigned char>(shared_bytes + kGuard, kPoison));
        live.assign(cluster, threads), arrived.assign(cluster, 0);
        cluster_live = threads * cluster, cluster_arrived = 0;
        start(first, blocks, threads);
        run_cluster(threads);
        for (const auto& memory : shared) {
            for (std::size_t i = shared_bytes; i < memory.size(); ++i) {
                if (memory[i] != kPoison) throw std::runtime_error("emulation: a write behind shared memory");
            }
        }
    }
}

}  // namespace m2t::cuda::emulation
