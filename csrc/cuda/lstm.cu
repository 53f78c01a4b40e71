// Kernels of LSTM cells.
#include "cuda/lstm.h"

#include "cuda/few_rows.h"
#include "cuda/tanh.h"

namespace m2t::cuda {
namespace {

constexpr unsigned kSmall = 64;  // threads; small blocks spread the weights' rows over all multiprocessors
constexpr unsigned kThreads = 256;

struct Next {
    float hidden, cell;
};

M2T_DEVICE Next next_state(float i, float f, float g, float o, float cell) {
    const float next = fmaf(f, cell, i * g);
    return {o * exact_tanh(next), next};
}

// A warp makes one unit of kRows rows: its four gates' weights are read once for them. What follows the launch before
// waits for it as late as it can: the products of its own state come first.
template <typename T, int kRows>
M2T_KERNEL void M2T_BOUNDS(kSmall, 1)
    lstm_cell_kernel(LstmCell<T> p, std::int64_t rows, std::int64_t units, bool follows) {
    if (!follows) release_next_launch();
    const std::int64_t unit = static_cast<std::int64_t>(blockIdx.x) * (kSmall / kWarp) + threadIdx.x / kWarp;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kRows, last = rows - 1;
    const bool inside = unit < units;
    float sums[4 * kRows] = {};
    if (inside) {
        const Rows<T> hidden = {p.hidden, units, first, last};
        add_products<4, kRows>(p.hidden_weight + unit * units, units * units, hidden, units, sums);
    }
    if (follows) wait_for_last_launch();
    if (!inside) return;
    const Rows<T> x = {p.x, p.inputs, first, last};
    add_products<4, kRows>(p.input_weight + unit * p.inputs, units * p.inputs, x, p.inputs, sums);

    const float sum = warp_sums(sums);
    const unsigned lane = threadIdx.x % kWarp;
    const unsigned gate = lane / kRows % 4, r = lane % kRows;
    const std::int64_t row = first + r;
    const std::int64_t column = gate * units + unit;
    const float biased = sum + to_float(p.input_bias[column]) + to_float(p.hidden_bias[column]);
    const float made = gate == 2 ? exact_tanh(biased) : sigmoid(biased);
    if (p.gates != nullptr && lane < 4 * kRows && row < rows) p.gates[row * 4 * units + column] = from_float<T>(made);
    const float i = __shfl_sync(kFullMask, made, r), f = __shfl_sync(kFullMask, made, kRows + r);
    const float g = __shfl_sync(kFullMask, made, 2 * kRows + r), o = __shfl_sync(kFullMask, made, 3 * kRows + r);
    if (lane < kRows && row < rows) {
        const std::int64_t place = row * units + unit;
        const Next next = next_state(i, f, g, o, to_float(p.cell[place]));
        p.next_hidden[place] = from_float<T>(next.hidden);
        p.next_cell[place] = from_float<T>(next.cell);
    }
}

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1)
    lstm_forward_kernel(const T* __restrict__ input_product, const T* __restrict__ hidden_product, LstmCell<T> p,
                        std::int64_t rows, std::int64_t units) {
    const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
    std::int64_t place = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    for (; place < rows * units; place += step) {
        const std::int64_t row = place / units, unit = place % units;
        float made[4];
        M2T_UNROLL
        for (int gate = 0; gate < 4; ++gate) {
            const std::int64_t column = gate * units + unit, i = row * 4 * units + column;
            const float sum = (to_float(input_product[i]) + to_float(p.input_bias[column])) +
                              (to_float(hidden_product[i]) + to_float(p.hidden_bias[column]));
            made[gate] = gate == 2 ? exact_tanh(sum) : sigmoid(sum);
            if (p.gates != nullptr) p.gates[i] = from_float<T>(made[gate]);
        }
        const Next next = next_state(made[0], made[1], made[2], made[3], to_float(p.cell[place]));
        p.next_hidden[place] = from_float<T>(next.hidden);
        p.next_cell[place] = from_float<T>(next.cell);
    }
}

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1) lstm_backward_kernel(LstmBackward<T> p, std::int64_t rows, std::int64_t units) {
    const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
    std::int64_t place = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    for (; place < rows * units; place += step) {
        const std::int64_t at = place / units * 4 * units + place % units;
        const float i = to_float(p.gates[at]), f = to_float(p.gates[at + units]);
        const float g = to_float(p.gates[at + 2 * units]), o = to_float(p.gates[at + 3 * units]);
        const float d_hidden = p.d_next_hidden == nullptr ? 0.0f : to_float(p.d_next_hidden[place]);
        const float tanh = exact_tanh(to_float(p.next_cell[place]));
        float d_cell = d_hidden * o * (1.0f - tanh * tanh);
        if (p.d_next_cell != nullptr) d_cell += to_float(p.d_next_cell[place]);
        p.d_sums[at] = from_float<T>(d_cell * g * i * (1.0f - i));
        p.d_sums[at + units] = from_float<T>(d_cell * to_float(p.cell[place]) * f * (1.0f - f));
        p.d_sums[at + 2 * units] = from_float<T>(d_cell * i * (1.0f - g * g));
        p.d_sums[at + 3 * units] = from_float<T>(d_hidden * tanh * o * (1.0f - o));
        p.d_cell[place] = from_float<T>(d_cell * f);
    }
}

Shape shape_of(std::int64_t count) {
    const std::int64_t blocks = (count + kThreads - 1) / kThreads;
    return {static_cast<unsigned>(blocks < 65535 ? blocks : 65535), 1, 1, kThreads, 0};
}

template <typename T, int kRows>
void run(std::int64_t rows, std::int64_t units, const LstmCell<T>& bottom, const LstmCell<T>& top, const Place& place) {
    const auto blocks = [](std::int64_t count, std::int64_t of) {
        return static_cast<unsigned>((count + of - 1) / of);
    };
    Shape shape = {blocks(units, kSmall / kWarp), blocks(rows, kRows), 1, kSmall, 0};
    launch(lstm_cell_kernel<T, kRows>, shape, place, bottom, rows, units, false);
    shape.overlaps = true;
    launch(lstm_cell_kernel<T, kRows>, shape, place, top, rows, units, true);
}

}  // namespace

template <typename T>
void lstm_cells(std::int64_t rows, std::int64_t units, const LstmCell<T>& bottom, const LstmCell<T>& top,
                const Place& place) {
    if (rows * units == 0) return;
    rows <= 2 ? run<T, 2>(rows, units, bottom, top, place) : run<T, kFewRows>(rows, units, bottom, top, place);
}

template <typename T>
void lstm_forward(std::int64_t rows, std::int64_t units, const LstmProducts<T>& products, const LstmCell<T>& cell,
                  const Place& place) {
    if (rows * units == 0) return;
    launch(lstm_forward_kernel<T>, shape_of(rows * units), place, products.input, products.hidden, cell, rows, units);
}

template <typename T>
void lstm_backward(std::int64_t rows, std::int64_t units, const LstmBackward<T>& p, const Place& place) {
    if (rows * units > 0) launch(lstm_backward_kernel<T>, shape_of(rows * units), place, p, rows, units);
}

#define M2T_INSTANTIATE(T)                                                                                            \
    template void lstm_cells(std::int64_t, std::int64_t, const LstmCell<T>&, const LstmCell<T>&, const Place&);       \
    template void lstm_forward(std::int64_t, std::int64_t, const LstmProducts<T>&, const LstmCell<T>&, const Place&); \
    template void lstm_backward(std::int64_t, std::int64_t, const LstmBackward<T>&, const Place&);

M2T_INSTANTIATE(float)
M2T_INSTANTIATE(bfloat16)

}  // namespace m2t::cuda
