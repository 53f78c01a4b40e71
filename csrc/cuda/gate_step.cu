// The whole gated decoder step of a few rows: two launches, of which the second reads most of its weights' products
// while the first one runs.
#include "cuda/few_rows.h"
#include "cuda/gate.h"
#include "cuda/tanh.h"

namespace m2t::cuda {
namespace {

constexpr unsigned kThreads = 64;  // small blocks: the weights' rows are spread over all multiprocessors

M2T_DEVICE std::int64_t warp_number() {
    return static_cast<std::int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
}

// The blend of eq. 9, made as it is read.
template <typename T, int kRows>
struct Blend {
    Rows<T> motion, language;
    float gate[kRows];

    M2T_DEVICE bool wide() const { return motion.wide() && language.wide(); }
    M2T_DEVICE Vec4 load_vec4(int r, std::int64_t k) const {
        Vec4 v = motion.load_vec4(r, k);
        const Vec4 l = language.load_vec4(r, k);
        M2T_UNROLL
        for (int i = 0; i < 4; ++i) v.x[i] = gate[r] * v.x[i] + (1.0f - gate[r]) * l.x[i];
        return v;
    }
    M2T_DEVICE float load(int r, std::int64_t k) const {
        return gate[r] * motion.load(r, k) + (1.0f - gate[r]) * language.load(r, k);
    }
};

// A warp for every element of motion and language, and one for the gate.
template <typename T, int kRows>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1) gate_blend_kernel(GateSizes n, GateStep<T> p) {
    release_next_launch();
    const std::int64_t d = warp_number();
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kRows, last = n.rows - 1;
    const unsigned lane = threadIdx.x % kWarp;
    const std::int64_t row = first + lane;
    const bool mine = lane < kRows && row < n.rows;  // after warp_sums lane r has row r
    float sums[kRows] = {};
    const Rows<T> hidden = {p.hidden, n.hidden, first, last};
    if (d < n.attention) {
        float others[kRows] = {};
        const Rows<T> context = {p.context, n.features, first, last}, top = {p.top, n.hidden, first, last};
        add_products<1, kRows>(p.context_weight + d * n.features, 0, context, n.features, sums);
        add_products<1, kRows>(p.language_weight + d * n.hidden, 0, top, n.hidden, others);
        const float motion = warp_sums(sums), language = warp_sums(others);
        if (mine) {
            p.motion[row * n.attention + d] = from_float<T>(exact_tanh(motion + to_float(p.context_bias[d])));
            p.language[row * n.attention + d] = from_float<T>(exact_tanh(language + to_float(p.language_bias[d])));
        }
    } else if (d == n.attention && p.gate != nullptr) {
        const Rows<T> word = {p.word, n.word, first, last};
        add_products<1, kRows>(p.gate_hidden_weight, 0, hidden, n.hidden, sums);
        add_products<1, kRows>(p.gate_word_weight, 0, word, n.word, sums);
        const float logit = warp_sums(sums) + to_float(p.gate_bias[0]);
        if (mine) {
            p.logit[row] = from_float<T>(logit);
            p.gate[row] = from_float<T>(p.force_gate == p.force_gate ? p.force_gate : sigmoid(logit));
        }
    }
}

// A warp for every element of the mixture.
template <typename T, int kRows>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1) gate_mixture_kernel(GateSizes n, GateStep<T> p) {
    const std::int64_t m = warp_number();
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kRows, last = n.rows - 1;
    const T* weight = p.mixture_weight + m * n.mixture_input;
    float sums[kRows] = {};
    if (m < n.mixture) {
        const Rows<T> word = {p.mixed_word, n.word, first, last}, hidden = {p.hidden, n.hidden, first, last};
        add_products<1, kRows>(weight, 0, word, n.word, sums);
        add_products<1, kRows>(weight + n.word + n.attention, 0, hidden, n.hidden, sums);
    }
    wait_for_last_launch();
    if (m >= n.mixture) return;
    Blend<T, kRows> blend = {{p.motion, n.attention, first, last}, {p.language, n.attention, first, last}, {}};
    M2T_UNROLL
    for (int r = 0; r < kRows; ++r) blend.gate[r] = to_float(p.gate[first + r < last ? first + r : last]);
    add_products<1, kRows>(weight + n.word, 0, blend, n.attention, sums);
    const float sum = warp_sums(sums);
    const unsigned lane = threadIdx.x % kWarp;
    if (lane < kRows && first + lane < n.rows) {
        const float x = sum + to_float(p.mixture_bias[m]);
        p.features[(first + lane) * n.mixture + m] = from_float<T>(exact_tanh(x));
    }
}

template <typename T, int kRows>
void run(const GateSizes& n, const GateStep<T>& step, const Place& place) {
    const auto blocks = [](std::int64_t count, std::int64_t of) {
        return static_cast<unsigned>((count + of - 1) / of);
    };
    const unsigned chunks = blocks(n.rows, kRows);
    launch(gate_blend_kernel<T, kRows>, {blocks(n.attention + 1, kThreads / kWarp), chunks, 1, kThreads, 0}, place, n,
           step);
    if (step.features == nullptr) return;
    Shape shape = {blocks(n.mixture, kThreads / kWarp), chunks, 1, kThreads, 0};
    shape.overlaps = true;
    launch(gate_mixture_kernel<T, kRows>, shape, place, n, step);
}

}  // namespace

template <typename T>
void gate_step(const GateSizes& n, const GateStep<T>& step, const Place& place) {
    if (n.rows == 0) return;
    n.rows <= 2 ? run<T, 2>(n, step, place) : run<T, kFewRows>(n, step, place);
}

template void gate_step(const GateSizes&, const GateStep<float>&, const Place&);
template void gate_step(const GateSizes&, const GateStep<bfloat16>&, const Place&);

}  // namespace m2t::cuda
