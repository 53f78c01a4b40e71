// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); the counter's layout is that
// of m2t_fast/reference/draws.py. Several counters go through the rounds side by side, for the compiler to vectorise.
#include "cpu/draws.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>

#include "common/parallel.h"

namespace py = pybind11;

namespace m2t {
namespace {

constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kIncrement0 = 0x9E3779B9, kIncrement1 = 0xBB67AE85;
constexpr int kRounds = 10;
constexpr std::uint32_t kInput = 0, kMixed = 1u << 30, kCoins = 2u << 30;
constexpr int kLanes = 8;

struct Key {
    std::uint32_t low, high;
};

// The counter's four words for kLanes counters; the random words afterwards.
struct Lanes {
    std::uint32_t word[4][kLanes];
};

void philox(Lanes& x, Key key) {
    for (int round = 0; round < kRounds; ++round) {
        for (int i = 0; i < kLanes; ++i) {
            const std::uint64_t a = kMultiplier0 * x.word[0][i], c = kMultiplier1 * x.word[2][i];
            x.word[0][i] = static_cast<std::uint32_t>(c >> 32) ^ x.word[1][i] ^ key.low;
            x.word[1][i] = static_cast<std::uint32_t>(c);
            x.word[2][i] = static_cast<std::uint32_t>(a >> 32) ^ x.word[3][i] ^ key.high;
            x.word[3][i] = static_cast<std::uint32_t>(a);
        }
        key.low += kIncrement0;
        key.high += kIncrement1;
    }
}

Lanes counters(std::uint32_t first, std::uint32_t word, std::uint32_t row, std::uint32_t step) {
    Lanes x;
    for (int i = 0; i < kLanes; ++i) {
        x.word[0][i] = first + static_cast<std::uint32_t>(i);
        x.word[1][i] = word;
        x.word[2][i] = row;
        x.word[3][i] = step;
    }
    return x;
}

// The factors of one embedding: channel e is word e % 4 of counter e / 4.
template <typename T>
void fill_embedding(std::uint32_t purpose, std::uint32_t word, std::uint32_t row, std::uint32_t step, Key key,
                    std::uint64_t threshold, T factor, std::int64_t channels, T* out) {
    for (std::int64_t e = 0; e < channels; e += 4 * kLanes) {
        Lanes x = counters(purpose + static_cast<std::uint32_t>(e / 4), word, row, step);
        philox(x, key);
        const std::int64_t count = std::min<std::int64_t>(4 * kLanes, channels - e);
        for (std::int64_t k = 0; k < count; ++k) out[e + k] = x.word[k % 4][k / 4] < threshold ? factor : T(0);
    }
}

using Address = std::uintptr_t;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

template <typename T>
void define(py::module_& module, const char* name) {
    const auto run = [](const std::array<std::int64_t, 3>& n, Address state, Address rows, std::uint64_t coin_threshold,
                        std::uint64_t keep_threshold, double factor, const std::array<Address, 3>& outputs,
                        int threads) {
        random_draws<T>({n[0], n[1], n[2]}, at<const std::int64_t>(state), at<const std::int64_t>(rows), coin_threshold,
                        keep_threshold, static_cast<T>(factor), at<std::uint8_t>(outputs[0]), at<T>(outputs[1]),
                        at<T>(outputs[2]), threads);
    };
    module.def(name, run, py::arg("sizes"), py::arg("state"), py::arg("rows"), py::arg("coin_threshold"),
               py::arg("keep_threshold"), py::arg("factor"), py::arg("outputs"), py::arg("threads"),
               py::call_guard<py::gil_scoped_release>());
}

}  // namespace

template <typename T>
void random_draws(const DrawsSizes& n, const std::int64_t* state, const std::int64_t* rows,
                  std::uint64_t coin_threshold, std::uint64_t keep_threshold, T factor, std::uint8_t* coins, T* first,
                  T* second, int threads) {
    const auto seed = static_cast<std::uint64_t>(state[0]);
    const Key key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
    const auto step = static_cast<std::uint32_t>(state[1]);
    for (std::int64_t l = 0; l < n.words; ++l) {
        Lanes x = counters(kCoins, static_cast<std::uint32_t>(l), 0, step);
        philox(x, key);
        coins[l] = x.word[0][0] < coin_threshold;
    }
    if (n.channels == 0) return;
    parallel_for(n.batch, threads, [&](std::int64_t b) {
        const auto row = static_cast<std::uint32_t>(rows == nullptr ? b : rows[b]);
        for (std::int64_t l = 0; l < n.words; ++l) {
            const std::int64_t place = (b * n.words + l) * n.channels;
            const auto word = static_cast<std::uint32_t>(l);
            fill_embedding(kInput, word, row, step, key, keep_threshold, factor, n.channels, first + place);
            fill_embedding(kMixed, word, row, step, key, keep_threshold, factor, n.channels, second + place);
        }
    });
}

void bind_draws(py::module_& module) {
    define<float>(module, "random_draws_float32");
    define<double>(module, "random_draws_float64");
}

}  // namespace m2t
