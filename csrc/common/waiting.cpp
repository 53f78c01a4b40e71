// Decides anew, while the process runs, how long a waiting thread keeps its core.
//
// A thread of libgomp that waits for another looks GOMP_SPINCOUNT times, then sleeps. If libgomp has more threads than
// there are cores it looks less often, 1,000 times under OMP_WAIT_POLICY=active. libgomp reads both numbers once, when
// it is loaded; but one more team, asleep, makes its threads more than the cores at any time. It is there while threads
// of this process are ready to run and wait for a core, which Linux counts in /proc.
#include "common/waiting.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#endif

namespace m2t {

namespace {

std::atomic<bool> wanted{false};
std::atomic<int> team{1};

#if defined(__linux__)

using GompParallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
using Clock = std::chrono::steady_clock;

constexpr auto kWorking = std::chrono::milliseconds(50), kIdle = std::chrono::milliseconds(250);
// Threads that wait for a core, on average: beside one busy process on two cores about 0.6 of a thread, alone under
// 0.06.
constexpr double kWanted = 0.25, kFree = 0.12, kNewest = 0.25;  // kNewest: weight of the newest sample
constexpr int kCalm = 4, kCalmest = 128;                        // samples before cores count as free again

// Seconds that the threads of this process were ready to run and had no core, from the folder that Linux counts them
// in; negative where it does not.
double seconds_without_core(const std::string& tasks) {
    DIR* folder = opendir(tasks.c_str());
    if (folder == nullptr) return -1;
    double sum = 0;
    bool counted = false;
    while (const dirent* entry = readdir(folder)) {
        if (entry->d_name[0] == '.') continue;
        std::FILE* file = std::fopen((tasks + "/" + entry->d_name + "/schedstat").c_str(), "re");
        if (file == nullptr) continue;  // the thread has ended
        unsigned long long ran = 0, waited = 0, times = 0;
        if (std::fscanf(file, "%llu %llu %llu", &ran, &waited, &times) == 3 && times > 0) {
            sum += 1e-9 * static_cast<double>(waited);
            counted = true;
        }
        std::fclose(file);
    }
    closedir(folder);
    return counted ? sum : -1;
}

// Seconds that all threads of this process have worked.
double seconds_worked() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// A team that does nothing but be there, owned by a thread: it goes when the thread ends.
class Crowd {
public:
    // Returns at once. A system that gives no more threads leaves things as they are.
    static std::unique_ptr<Crowd> gather(GompParallel parallel, int threads) {
        auto crowd = std::unique_ptr<Crowd>(new Crowd);
        try {
            std::thread([parallel, threads, room = crowd->room_] {
                parallel([](void*) {}, nullptr, static_cast<unsigned>(threads), 0);
                std::unique_lock<std::mutex> lock(room->mutex);
                room->changed.wait(lock, [&] { return room->closed; });
            }).detach();
        } catch (const std::system_error&) {
            return nullptr;
        }
        return crowd;
    }

    ~Crowd() {
        const std::lock_guard<std::mutex> lock(room_->mutex);
        room_->closed = true;
        room_->changed.notify_all();
    }

private:
    struct Room {
        std::mutex mutex;
        std::condition_variable changed;
        bool closed = false;
    };
    std::shared_ptr<Room> room_ = std::make_shared<Room>();
};

[[noreturn]] void watch(GompParallel parallel, int cores, const std::string tasks) {
    std::unique_ptr<Crowd> crowd;
    double waited = seconds_without_core(tasks);
    double worked = seconds_worked();
    auto then = Clock::now(), freed = then;
    auto pause = kWorking;
    double share = 0;
    for (int calm = 0, needed = kCalm;;) {
        std::this_thread::sleep_for(pause);
        const int threads = team.load(std::memory_order_relaxed);
        if (threads <= 1 && crowd == nullptr) continue;  // nobody waits
        const auto now = Clock::now();
        const double passed = std::chrono::duration<double>(now - then).count();
        const double waited_now = seconds_without_core(tasks);
        const double worked_now = seconds_worked();
        share += kNewest * (std::max(0.0, waited_now - waited) / passed - share);  // less when a thread ended
        pause = worked_now - worked > 0.1 * passed ? kWorking : kIdle;
        then = now, waited = waited_now, worked = worked_now;
        if (crowd == nullptr) {
            if (now - freed > std::chrono::seconds(10)) needed = kCalm;
            if (share < kWanted || threads > cores) continue;
            crowd = Crowd::gather(parallel, cores - threads + 2);
            // Cores that were wanted again at once were never free: the next attempt comes later.
            if (now - freed < std::chrono::seconds(1) && needed < kCalmest) needed *= 2;
            calm = 0;
        } else {
            calm = share < kFree ? calm + 1 : 0;
            if (calm < needed) continue;
            crowd.reset();
            freed = now;
        }
        wanted.store(crowd != nullptr, std::memory_order_relaxed);
    }
}

#endif

}  // namespace

bool watch_cores(std::uintptr_t gomp_parallel, int cores, int threads, const std::string& tasks) {
    note_team(threads);
#if defined(__linux__)
    static std::once_flag once;
    static bool started = false;
    std::call_once(once, [&] {
        if (gomp_parallel == 0 || seconds_without_core(tasks) < 0) return;
        // Signals are for the threads of the program; a thread begins with the mask of the one that starts it.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            std::thread(watch, reinterpret_cast<GompParallel>(gomp_parallel), cores, tasks).detach();
            started = true;
        } catch (const std::system_error&) {
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    });
    return started;
#else
    static_cast<void>(gomp_parallel), static_cast<void>(cores), static_cast<void>(tasks);
    return false;
#endif
}

bool cores_wanted() { return wanted.load(std::memory_order_relaxed); }

void note_team(int threads) {
    if (team.load(std::memory_order_relaxed) != threads) team.store(threads, std::memory_order_relaxed);
}

}  // namespace m2t
