// What lies between the products of the gated decoder step, forward and backward: a warp takes a row.
#include "cuda/gate.h"

#include "cuda/tanh.h"

namespace m2t::cuda {
namespace {

constexpr unsigned kThreads = 256;

// The first row of this warp, and how many further the next one is.
struct Turn {
    std::int64_t first, step;
};

M2T_DEVICE Turn rows_of_warp() {
    constexpr std::int64_t warps = kThreads / kWarp;
    return {static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / kWarp, gridDim.x * warps};
}

// The sum of a[i] * b[i] over n, in every lane.
template <typename T>
M2T_DEVICE float dot(const T* a, const T* b, std::int64_t n) {
    float sum = 0.0f;
    for (std::int64_t i = threadIdx.x % kWarp; i < n; i += kWarp) sum = fmaf(to_float(a[i]), to_float(b[i]), sum);
    return warp_sum(sum);
}

template <typename T>
M2T_DEVICE void copy(const T* from, T* to, std::int64_t n) {
    for (std::int64_t i = threadIdx.x % kWarp; i < n; i += kWarp) to[i] = from[i];
}

template <typename T>
M2T_DEVICE float activated(const T* product, const T* bias, std::int64_t i) {
    const float x = to_float(product[i]);
    return bias == nullptr ? x : exact_tanh(x + to_float(bias[i]));
}

// The input of the mixture of one row; visit(i, motion, language) sees both tanh on the way.
template <typename T, typename Visit>
M2T_DEVICE void blend(const GateSizes& n, const GateInputs<T>& in, std::int64_t row, float gate, T* mixture_input,
                      const Visit& visit) {
    copy(in.mixed_word + row * n.word, mixture_input, n.word);
    copy(in.hidden + row * n.hidden, mixture_input + n.word + n.attention, n.hidden);
    for (std::int64_t i = threadIdx.x % kWarp; i < n.attention; i += kWarp) {
        const float motion = activated(in.context_product + row * n.attention, in.context_bias, i);
        const float language = activated(in.language_product + row * n.attention, in.language_bias, i);
        mixture_input[n.word + i] = from_float<T>(gate * motion + (1.0f - gate) * language);
        visit(i, motion, language);
    }
}

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1) gate_forward_kernel(GateSizes n, GateInputs<T> in, GateForward<T> out) {
    const Turn turn = rows_of_warp();
    for (std::int64_t row = turn.first; row < n.rows; row += turn.step) {
        const float logit = dot(in.hidden + row * n.hidden, in.gate_hidden_weight, n.hidden) +
                            dot(in.word + row * n.word, in.gate_word_weight, n.word) + to_float(in.gate_bias[0]);
        const float gate = in.force_gate == in.force_gate ? in.force_gate : sigmoid(logit);
        if (threadIdx.x % kWarp == 0) {
            out.logit[row] = from_float<T>(logit);
            out.gate[row] = from_float<T>(gate);
        }
        blend(n, in, row, gate, out.mixture_input + row * n.mixture_input, [](std::int64_t, float, float) {});
    }
}

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1) gate_backward_kernel(GateSizes n, GateInputs<T> in, GateBackward<T> out) {
    const Turn turn = rows_of_warp();
    const unsigned lane = threadIdx.x % kWarp;
    for (std::int64_t row = turn.first; row < n.rows; row += turn.step) {
        const float gate = to_float(out.gate[row]);
        const T* d_input = out.d_mixture_input + row * n.mixture_input;
        const T* d_adaptive = d_input + n.word;
        float d_gate = 0.0f;
        blend(n, in, row, gate, out.mixture_input + row * n.mixture_input,
              [&](std::int64_t i, float motion, float language) {
                  const float d = to_float(d_adaptive[i]);
                  d_gate = fmaf(d, motion - language, d_gate);
                  const std::int64_t place = row * n.attention + i;
                  out.d_context[place] = from_float<T>(d * gate * (1.0f - motion * motion));
                  out.d_language[place] = from_float<T>(d * (1.0f - gate) * (1.0f - language * language));
              });
        d_gate = warp_sum(d_gate);
        if (out.d_gate != nullptr) d_gate += to_float(out.d_gate[row]);
        float d_logit = out.d_logit == nullptr ? 0.0f : to_float(out.d_logit[row]);
        // A forced gate is a constant.
        if (!(in.force_gate == in.force_gate)) d_logit += d_gate * gate * (1.0f - gate);
        if (lane == 0) out.d_total_logit[row] = from_float<T>(d_logit);
        const T* d_hidden = d_adaptive + n.attention;
        for (std::int64_t i = lane; i < n.hidden; i += kWarp) {
            const float d = fmaf(d_logit, to_float(in.gate_hidden_weight[i]), to_float(d_hidden[i]));
            out.d_hidden[row * n.hidden + i] = from_float<T>(d);
        }
        for (std::int64_t i = lane; i < n.word; i += kWarp) {
            out.d_word[row * n.word + i] = from_float<T>(d_logit * to_float(in.gate_word_weight[i]));
        }
        copy(d_input, out.d_mixed_word + row * n.word, n.word);
    }
}

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1)
    bias_tanh_kernel(T* __restrict__ x, const T* __restrict__ bias, std::int64_t rows, std::int64_t columns) {
    const Turn turn = rows_of_warp();
    for (std::int64_t row = turn.first; row < rows; row += turn.step) {
        T* y = x + row * columns;
        for (std::int64_t i = threadIdx.x % kWarp; i < columns; i += kWarp) {
            y[i] = from_float<T>(exact_tanh(to_float(y[i]) + to_float(bias[i])));
        }
    }
}

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 1)
    tanh_gradient_kernel(const T* __restrict__ grad, const T* __restrict__ y, T* __restrict__ out, std::int64_t count) {
    const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
        const float t = to_float(y[i]);
        out[i] = from_float<T>(to_float(grad[i]) * (1.0f - t * t));
    }
}

// Blocks for `count` units of work, so many to a block; a block comes back for more where there would be too many.
Shape shape_of(std::int64_t count, std::int64_t a_block) {
    const std::int64_t blocks = (count + a_block - 1) / a_block;
    return {static_cast<unsigned>(blocks < 65535 ? blocks : 65535), 1, 1, kThreads, 0};
}

Shape shape_of_rows(std::int64_t rows) { return shape_of(rows, kThreads / kWarp); }

}  // namespace

template <typename T>
void gate_forward(const GateSizes& n, const GateInputs<T>& in, const GateForward<T>& out, const Place& place) {
    if (n.rows > 0) launch(gate_forward_kernel<T>, shape_of_rows(n.rows), place, n, in, out);
}

template <typename T>
void gate_backward(const GateSizes& n, const GateInputs<T>& in, const GateBackward<T>& out, const Place& place) {
    if (n.rows > 0) launch(gate_backward_kernel<T>, shape_of_rows(n.rows), place, n, in, out);
}

template <typename T>
void bias_tanh(const BiasTanh<T>& t, const Place& place) {
    if (t.rows * t.columns == 0) return;
    launch(bias_tanh_kernel<T>, shape_of_rows(t.rows), place, t.x, t.bias, t.rows, t.columns);
}

template <typename T>
void tanh_gradient(const TanhGradient<T>& t, const Place& place) {
    if (t.count == 0) return;
    launch(tanh_gradient_kernel<T>, shape_of(t.count, kThreads), place, t.grad, t.y, t.out, t.count);
}

#define M2T_INSTANTIATE(T)                                                                                     \
    template void gate_forward(const GateSizes&, const GateInputs<T>&, const GateForward<T>&, const Place&);   \
    template void gate_backward(const GateSizes&, const GateInputs<T>&, const GateBackward<T>&, const Place&); \
    template void bias_tanh(const BiasTanh<T>&, const Place&);                                                 \
    template void tanh_gradient(const TanhGradient<T>&, const Place&);

M2T_INSTANTIATE(float)
M2T_INSTANTIATE(bfloat16)

}  // namespace m2t::cuda
