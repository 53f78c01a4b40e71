// Part encoder of a few frames: gathers a part's coordinates, and runs both layers while they are in cache. Included
// once for each instruction set: see isa.h.
//
// Products are those of linear_kernel.h. S is what features and weights are stored in, T what they are computed in.
#pragma once

#include "cpu/encoder.h"
#include "cpu/linear_kernel.h"

namespace m2t {
namespace M2T_ISA {

// A part of one stream: where its rows of the first weight begin, and how many there are.
struct PartRows {
    std::int64_t first = 0, joint = 0, count = 0;

    PartRows(const EncoderSizes& n, std::int64_t part) {
        for (std::int64_t p = 0; p < part; ++p) joint += n.part_sizes[p];
        first = 3 * joint;
        count = 3 * n.part_sizes[part];
    }
};

// Coordinates of a frame as the products take them: whole steps, zeros behind the last one.
template <typename S>
std::int64_t input_terms(std::int64_t coordinates) {
    return steps<S>(coordinates) * Step<S>::kPair;
}

// The weights of one part and stream: the first, the second or for the gradient its transpose, the first's transpose.
template <typename S>
struct EncoderWeights {
    S *first, *second, *first_back;
    std::size_t bytes;

    EncoderWeights(const EncoderSizes& n, unsigned char* base) {
        Layout layout(base);
        layout.take(first, linear_packed_size<S>(n.hidden, n.rows));
        layout.take(second, std::max(linear_packed_size<S>(n.half, n.hidden), linear_packed_size<S>(n.hidden, n.half)));
        layout.take(first_back, linear_packed_size<S>(n.rows, n.hidden));
        bytes = layout.bytes();
    }
    EncoderWeights(const EncoderSizes& n, const unsigned char* packed, std::int64_t own)
        : EncoderWeights(n, const_cast<unsigned char*>(packed) +
                                static_cast<std::size_t>(own) * EncoderWeights(n, nullptr).bytes) {}
};

template <typename S>
void pack_weight(const S* weight, std::int64_t columns, std::int64_t terms, bool transposed, S* packed) {
    for (std::int64_t p = 0; p < linear_panels<S>(columns); ++p) {
        pack_linear<S>(weight, columns, terms, transposed, p, packed);
    }
}

template <typename S>
void pack_encoder(const EncoderSizes& n, const EncoderInputs<S>& in, bool gradient, std::int64_t stream,
                  std::int64_t part, unsigned char* packed) {
    const EncoderWeights<S> to(n, packed);
    const PartRows rows(n, part);
    const S* first = in.weight1 + (stream * n.rows + rows.first) * n.hidden;
    const S* second = in.weight2 + (stream * n.parts + part) * n.hidden * n.half;
    pack_weight<S>(first, n.hidden, rows.count, true, to.first);
    if (gradient) {
        pack_weight<S>(second, n.hidden, n.half, false, to.second);
        pack_weight<S>(first, rows.count, n.hidden, false, to.first_back);
    } else {
        pack_weight<S>(second, n.half, n.hidden, true, to.second);
    }
}

// One tile of frames of one part and stream.
template <typename S>
struct EncoderWorkspace {
    using T = LinearSum<S>;
    T* coordinates;                               // (tile, 3N), where they are stored as something else
    S* inputs;                                    // (tile, 3N)
    S *hidden, *d_hidden, *d_output;              // (tile, D), (tile, D), (tile, H/2)
    T* sums;                                      // (kLinearRows, width): linear_forward's workspace
    TermOf<S>*tile, *input_steps, *hidden_steps;  // (steps, width); (steps, 3N), (steps, D): pairs of rows
    T *share1, *share2;                           // gradients of both weights, in panels
    T *sum1, *sum2, *tile_sum;                    // sums of a column: (D), (H/2), either
    std::size_t bytes;

    EncoderWorkspace(const EncoderSizes& n, unsigned char* base) {
        constexpr std::int64_t width = linear_width<S>(), pair = Step<S>::kPair;
        const std::int64_t count = steps<S>(kEncoderTile), terms = n.rows + pair;
        Layout layout(base);
        layout.take(coordinates, std::is_same_v<S, T> ? 0 : kEncoderTile * terms);
        layout.take(inputs, kEncoderTile * terms);
        layout.take(hidden, kEncoderTile * n.hidden);
        layout.take(d_hidden, kEncoderTile * n.hidden);
        layout.take(d_output, kEncoderTile * n.half);
        layout.take(sums, kLinearRows * width);
        layout.take(tile, count * width);
        layout.take(input_steps, pair == 1 ? 0 : count * terms);
        layout.take(hidden_steps, pair == 1 ? 0 : count * n.hidden);
        layout.take(share1, linear_panels<S>(n.hidden) * width * n.rows);
        layout.take(share2, linear_panels<S>(n.half) * width * n.hidden);
        layout.take(sum1, padded<T>(n.hidden));
        layout.take(sum2, padded<T>(n.half));
        layout.take(tile_sum, padded<T>(std::max(n.hidden, n.half)));
        bytes = layout.bytes();
    }
};

// Coordinates of a part's joints in `count` frames from `frame` on, a row of `stride` for each frame: relative to the
// root, which keeps its own; stream 1: their difference to the frame before, 0 at frame 0.
template <typename T>
void gather(const EncoderSizes& n, const T* motion, std::int64_t stream, const PartRows& rows, std::int64_t frame,
            std::int64_t count, T* out, std::int64_t stride) {
    const std::int64_t width = 3 * n.joints;
    const auto relative = [&n](const T* pose, std::int64_t joint, std::int64_t axis) {
        return joint == 0 || n.relative ? pose[3 * joint + axis] : pose[3 * joint + axis] - pose[axis];
    };
    for (std::int64_t t = 0; t < count; ++t) {
        const T* pose = motion + (frame + t) * width;
        for (std::int64_t j = 0; j < rows.count / 3; ++j) {
            const std::int64_t joint = n.part_joints[rows.joint + j];
            for (std::int64_t axis = 0; axis < 3; ++axis) {
                T x = relative(pose, joint, axis);
                if (stream == 1) x = frame + t == 0 ? T(0) : x - relative(pose - width, joint, axis);
                out[t * stride + 3 * j + axis] = x;
            }
        }
        std::fill(out + t * stride + rows.count, out + (t + 1) * stride, T(0));
    }
}

// The same as the first layer takes them, in w.inputs.
template <typename S>
void gather_inputs(const EncoderSizes& n, const EncoderInputs<S>& in, std::int64_t stream, const PartRows& rows,
                   std::int64_t b, std::int64_t frame, std::int64_t count, const EncoderWorkspace<S>& w) {
    const std::int64_t terms = input_terms<S>(rows.count);
    const auto* motion = in.motion + b * n.frames * n.joints * 3;
    if constexpr (std::is_same_v<S, LinearSum<S>>) {
        gather(n, motion, stream, rows, frame, count, w.inputs, terms);
    } else {
        gather(n, motion, stream, rows, frame, count, w.coordinates, terms);
        shorten(w.coordinates, count * terms, w.inputs);
    }
}

// y = tanh(x W + bias) for `count` rows of x (count, terms), y's rows `stride` apart.
template <typename S>
void layer(const S* x, std::int64_t count, std::int64_t terms, const S* packed, const S* bias, std::int64_t columns,
           S* y, std::int64_t stride, const EncoderWorkspace<S>& w) {
    const LinearOutput<S> out = {{{{x, packed, terms}, {}}}, 1, bias, true, y, columns, stride, nullptr};
    linear_forward<S>(out, {0, count}, reinterpret_cast<unsigned char*>(w.sums));
}

template <typename S>
std::int64_t valid_frames(const EncoderSizes& n, const EncoderInputs<S>& in, std::int64_t b) {
    return std::clamp<std::int64_t>(in.lengths[b], 0, n.frames);
}

template <typename S>
void encoder_forward_tile(const EncoderSizes& n, const EncoderInputs<S>& in, const unsigned char* packed, S* parts,
                          std::int64_t b, std::int64_t first, unsigned char* base) {
    const EncoderWorkspace<S> w(n, base);
    const std::int64_t last = std::min(first + kEncoderTile, n.frames);
    const std::int64_t count = std::max<std::int64_t>(0, std::min(last, valid_frames(n, in, b)) - first);
    const std::int64_t stride = 2 * n.parts * n.half;
    S* out = parts + (b * n.frames + first) * stride;
    for (std::int64_t part = 0; part < n.parts && count > 0; ++part) {
        const PartRows rows(n, part);
        for (std::int64_t stream = 0; stream < 2; ++stream) {
            const std::int64_t own = stream * n.parts + part;
            const EncoderWeights<S> weights(n, packed, own);
            gather_inputs(n, in, stream, rows, b, first, count, w);
            layer(w.inputs, count, input_terms<S>(rows.count), weights.first, in.bias1 + own * n.hidden, n.hidden,
                  w.hidden, n.hidden, w);
            layer(w.hidden, count, n.hidden, weights.second, in.bias2 + own * n.half, n.half,
                  out + (2 * part + stream) * n.half, stride, w);
        }
    }
    std::fill(out + count * stride, out + (last - first) * stride, S());
}

// Rows that are asked for ahead: those of a part lie too far from one another for the processor to guess.
constexpr std::int64_t kRowsAhead = 8;

// d (count, columns) = grad (1 - y^2) and `sum` (padded columns) plus d's columns; a row of grad is given by its
// number.
template <typename S, typename Grad>
void tanh_gradient_rows(const Grad& grad, const S* y, std::int64_t y_stride, std::int64_t count, std::int64_t columns,
                        S* d, std::int64_t d_stride, LinearSum<S>* tile_sum, LinearSum<S>* sum) {
    using T = LinearSum<S>;
    constexpr std::int64_t W = lanes<T>();
    std::fill(tile_sum, tile_sum + padded<T>(columns), T(0));
    for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t j = 0; j < columns; j += W) {
            prefetch(grad(i + kRowsAhead) + j);
            prefetch(y + (i + kRowsAhead) * y_stride + j);
            const std::int64_t some = std::min(W, columns - j);
            const Vec<T> t = load_first(y + i * y_stride + j, some);
            const Vec<T> v = load_first(grad(i) + j, some) * (T(1) - t * t);
            store_first(d + i * d_stride + j, v, some);
            store(tile_sum + j, load(tile_sum + j) + v);
        }
    }
    for (std::int64_t j = 0; j < columns; j += W) store(sum + j, load(sum + j) + load(tile_sum + j));
}

// share (rows, width) += x^T d for one panel of d (count, columns): x as steps of `rows` terms, `terms` apart.
template <typename S>
void add_weight_gradient(const TermOf<S>* x, std::int64_t terms, std::int64_t rows, const S* d, std::int64_t columns,
                         std::int64_t panel, std::int64_t count, const EncoderWorkspace<S>& w, LinearSum<S>* share) {
    constexpr std::int64_t width = linear_width<S>();
    const std::int64_t some = std::min(width, columns - panel * width);
    if (some < width) std::fill(w.tile, w.tile + steps<S>(count) * width, TermOf<S>(0));
    pair_rows<S>(d + panel * width, columns, count, some, w.tile, width);
    constexpr auto bytes = static_cast<std::int64_t>(sizeof(TermOf<S>));
    linear_rows<S>(reinterpret_cast<const unsigned char*>(x), bytes, terms * bytes, rows, w.tile, steps<S>(count),
                   share + panel * width * rows, true);
}

// Rows of x (count, columns) as steps: pairs of them side by side in `to`, or where a step is one row x itself.
template <typename S>
const TermOf<S>* as_steps(const S* x, std::int64_t count, std::int64_t columns, TermOf<S>* to) {
    if constexpr (Step<S>::kPair == 1) {
        static_cast<void>(count), static_cast<void>(columns), static_cast<void>(to);
        return x;
    } else {
        pair_rows<S>(x, columns, count, columns, to, columns);
        return to;
    }
}

// A share in panels as (rows, columns).
template <typename S>
void unpanelled(const LinearSum<S>* share, std::int64_t rows, std::int64_t columns, LinearSum<S>* to) {
    constexpr std::int64_t width = linear_width<S>();
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; j += width) {
            std::copy_n(share + (j / width * rows + i) * width, std::min(width, columns - j), to + i * columns + j);
        }
    }
}

template <typename S>
void encoder_backward_part(const EncoderSizes& n, const EncoderInputs<S>& in, const EncoderGrads<S>& out,
                           const unsigned char* packed, WideOf<S>* coordinates, std::int64_t stream, std::int64_t part,
                           unsigned char* base) {
    using T = LinearSum<S>;
    constexpr std::int64_t width = linear_width<S>(), pair = Step<S>::kPair;
    const EncoderWorkspace<S> w(n, base);
    const PartRows rows(n, part);
    const std::int64_t own = stream * n.parts + part;
    const EncoderWeights<S> weights(n, packed, own);
    const std::int64_t stride = 2 * n.parts * n.half, terms = input_terms<S>(rows.count);
    std::fill(w.share1, w.share1 + linear_panels<S>(n.hidden) * width * rows.count, T(0));
    std::fill(w.share2, w.share2 + linear_panels<S>(n.half) * width * n.hidden, T(0));
    std::fill(w.sum1, w.sum1 + padded<T>(n.hidden), T(0));
    std::fill(w.sum2, w.sum2 + padded<T>(n.half), T(0));
    for (std::int64_t b = 0; b < n.batch; ++b) {
        const std::int64_t valid = valid_frames(n, in, b);
        for (std::int64_t first = 0; first < valid; first += kEncoderTile) {
            const std::int64_t count = std::min(kEncoderTile, valid - first);
            const std::int64_t offset = (b * n.frames + first) * stride + (2 * part + stream) * n.half;
            gather_inputs(n, in, stream, rows, b, first, count, w);
            layer(w.inputs, count, terms, weights.first, in.bias1 + own * n.hidden, n.hidden, w.hidden, n.hidden, w);

            tanh_gradient_rows<S>([&](std::int64_t t) { return out.grad + offset + t * stride; }, out.parts + offset,
                                  stride, count, n.half, w.d_output, n.half, w.tile_sum, w.sum2);
            const TermOf<S>* hidden = as_steps<S>(w.hidden, count, n.hidden, w.hidden_steps);
            for (std::int64_t panel = 0; panel < linear_panels<S>(n.half); ++panel) {
                add_weight_gradient<S>(hidden, n.hidden, n.hidden, w.d_output, n.half, panel, count, w, w.share2);
            }

            const TermOf<S>* inputs = as_steps<S>(w.inputs, count, terms, w.input_steps);
            const TermOf<S>* tiles = reinterpret_cast<const TermOf<S>*>(weights.second);
            for (std::int64_t panel = 0; panel < linear_panels<S>(n.hidden); ++panel) {
                const std::int64_t column = panel * width, all_steps = steps<S>(n.half);
                for (std::int64_t k = 0; k < all_steps; k += kPanelTerms) {
                    linear_rows<S>(reinterpret_cast<const unsigned char*>(w.d_output + k * pair),
                                   n.half * static_cast<std::int64_t>(sizeof(S)), sizeof(TermOf<S>), count,
                                   tiles + (panel * all_steps + k) * width, std::min(kPanelTerms, all_steps - k),
                                   w.sums, k > 0);
                }
                tanh_gradient_rows<S>([&](std::int64_t t) { return w.sums + t * width; }, w.hidden + column, n.hidden,
                                      count, std::min(width, n.hidden - column), w.d_hidden + column, n.hidden,
                                      w.tile_sum, w.sum1 + column);
                add_weight_gradient<S>(inputs, terms, rows.count, w.d_hidden, n.hidden, panel, count, w, w.share1);
            }

            if (coordinates != nullptr) {
                T* to = coordinates + ((stream * n.batch + b) * n.frames + first) * n.rows + rows.first;
                const LinearOutput<S> d_inputs = {{{{w.d_hidden, weights.first_back, n.hidden}, {}}},
                                                  1,
                                                  nullptr,
                                                  false,
                                                  nullptr,
                                                  rows.count,
                                                  n.rows,
                                                  to};
                linear_forward<S>(d_inputs, {0, count}, reinterpret_cast<unsigned char*>(w.sums));
            }
        }
    }
    unpanelled<S>(w.share1, rows.count, n.hidden, out.weight1 + (stream * n.rows + rows.first) * n.hidden);
    unpanelled<S>(w.share2, n.hidden, n.half, out.weight2 + own * n.hidden * n.half);
    std::copy_n(w.sum1, n.hidden, out.bias1 + own * n.hidden);
    std::copy_n(w.sum2, n.half, out.bias2 + own * n.half);
}

template <typename S>
EncoderKernels<S> make_encoder_kernels() {
    return {[](const EncoderSizes& n) { return EncoderWorkspace<S>(n, nullptr).bytes; },
            [](const EncoderSizes& n) { return EncoderWeights<S>(n, nullptr).bytes; }, &pack_encoder<S>,
            &encoder_forward_tile<S>, &encoder_backward_part<S>};
}

#if !defined(M2T_BFLOAT16)
template <typename T>
EncoderKernels<T> encoder_kernels() {
    return make_encoder_kernels<T>();
}

template EncoderKernels<float> encoder_kernels<float>();
template EncoderKernels<double> encoder_kernels<double>();
#endif

}  // namespace M2T_ISA
}  // namespace m2t
