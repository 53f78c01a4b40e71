// Part encoder of a few frames: gathers a part's coordinates, and runs both layers while they are in cache. Included
// once for each instruction set: see isa.h.
#pragma once

#include "cpu/encoder.h"
#include "cpu/small_product.h"

namespace m2t {
namespace M2T_ISA {

// One tile of frames of one part and stream.
template <typename T>
struct EncoderWorkspace {
    T* inputs;                        // (tile, 3N)
    T *hidden, *d_hidden, *d_output;  // (tile, D), (tile, D), (tile, H/2)
    T *sum1, *sum2;                   // sums of a column: (D), (H/2)
    std::size_t bytes;

    EncoderWorkspace(const EncoderSizes& n, unsigned char* base) {
        Layout layout(base);
        layout.take(inputs, kEncoderTile * n.rows);
        layout.take(hidden, kEncoderTile * n.hidden);
        layout.take(d_hidden, kEncoderTile * n.hidden);
        layout.take(d_output, kEncoderTile * n.half);
        layout.take(sum1, n.hidden);
        layout.take(sum2, n.half);
        bytes = layout.bytes();
    }
};

// A part of one stream: where its rows of the first weight begin, and how many there are.
struct PartRows {
    std::int64_t first = 0, joint = 0, count = 0;

    PartRows(const EncoderSizes& n, std::int64_t part) {
        for (std::int64_t p = 0; p < part; ++p) joint += n.part_sizes[p];
        first = 3 * joint;
        count = 3 * n.part_sizes[part];
    }
};

// Coordinates of a part's joints in `count` frames from `frame` on, one row (count of PartRows) for each frame:
// relative to the root, which keeps its own; stream 1: their difference to the frame before, 0 at frame 0.
template <typename T>
void gather(const EncoderSizes& n, const T* motion, std::int64_t stream, const PartRows& rows, std::int64_t frame,
            std::int64_t count, T* out) {
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
                out[t * rows.count + 3 * j + axis] = x;
            }
        }
    }
}

// y = tanh(x W + bias) for `count` rows: x (count, terms), W (terms, columns), y rows `stride` apart.
template <typename T>
void layer(const T* x, std::int64_t count, std::int64_t terms, const T* weight, const T* bias, std::int64_t columns,
           T* y, std::int64_t stride) {
    for (std::int64_t i = 0; i < count; ++i) std::copy_n(bias, columns, y + i * stride);
    product(x, terms, std::int64_t(1), count, weight, columns, terms, y, stride, columns, true);
    constexpr std::int64_t W = lanes<T>();
    for (std::int64_t i = 0; i < count; ++i) {
        T* row = y + i * stride;
        for (std::int64_t j = 0; j < columns; j += W) {
            const std::int64_t some = std::min(W, columns - j);
            store_first(row + j, tanh(load_first(row + j, some)), some);
        }
    }
}

template <typename T>
std::int64_t valid_frames(const EncoderSizes& n, const EncoderInputs<T>& in, std::int64_t b) {
    return std::clamp<std::int64_t>(in.lengths[b], 0, n.frames);
}

template <typename T>
void encoder_forward_tile(const EncoderSizes& n, const EncoderInputs<T>& in, T* parts, std::int64_t b,
                          std::int64_t first, unsigned char* base) {
    const EncoderWorkspace<T> w(n, base);
    const std::int64_t last = std::min(first + kEncoderTile, n.frames);
    const std::int64_t count = std::max<std::int64_t>(0, std::min(last, valid_frames(n, in, b)) - first);
    const std::int64_t stride = 2 * n.parts * n.half;
    T* out = parts + (b * n.frames + first) * stride;
    const T* motion = in.motion + b * n.frames * n.joints * 3;
    for (std::int64_t part = 0; part < n.parts && count > 0; ++part) {
        const PartRows rows(n, part);
        for (std::int64_t stream = 0; stream < 2; ++stream) {
            const std::int64_t own = stream * n.parts + part;
            gather(n, motion, stream, rows, first, count, w.inputs);
            layer(w.inputs, count, rows.count, in.weight1 + (stream * n.rows + rows.first) * n.hidden,
                  in.bias1 + own * n.hidden, n.hidden, w.hidden, n.hidden);
            layer(w.hidden, count, n.hidden, in.weight2 + own * n.hidden * n.half, in.bias2 + own * n.half, n.half,
                  out + (2 * part + stream) * n.half, stride);
        }
    }
    std::fill(out + count * stride, out + (last - first) * stride, T(0));
}

// sum[j] += the sum over rows of x[i][j].
template <typename T>
void add_columns(const T* x, std::int64_t count, std::int64_t columns, T* tile_sum, T* sum) {
    std::fill(tile_sum, tile_sum + columns, T(0));
    for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) tile_sum[j] += x[i * columns + j];
    }
    for (std::int64_t j = 0; j < columns; ++j) sum[j] += tile_sum[j];
}

template <typename T>
void encoder_backward_part(const EncoderSizes& n, const EncoderInputs<T>& in, const EncoderGrads<T>& out,
                           T* coordinates, std::int64_t stream, std::int64_t part, unsigned char* base) {
    const EncoderWorkspace<T> w(n, base);
    const PartRows rows(n, part);
    const std::int64_t own = stream * n.parts + part;
    const std::int64_t stride = 2 * n.parts * n.half;
    const std::int64_t first_row = stream * n.rows + rows.first;
    T* d_weight1 = out.weight1 + first_row * n.hidden;
    T* d_weight2 = out.weight2 + own * n.hidden * n.half;
    T* d_bias1 = out.bias1 + own * n.hidden;
    T* d_bias2 = out.bias2 + own * n.half;
    std::fill(d_weight1, d_weight1 + rows.count * n.hidden, T(0));
    std::fill(d_weight2, d_weight2 + n.hidden * n.half, T(0));
    std::fill(d_bias1, d_bias1 + n.hidden, T(0));
    std::fill(d_bias2, d_bias2 + n.half, T(0));
    for (std::int64_t b = 0; b < n.batch; ++b) {
        const std::int64_t valid = valid_frames(n, in, b);
        for (std::int64_t first = 0; first < valid; first += kEncoderTile) {
            const std::int64_t count = std::min(kEncoderTile, valid - first);
            const std::int64_t offset = (b * n.frames + first) * stride + (2 * part + stream) * n.half;
            for (std::int64_t t = 0; t < count; ++t) {
                const T* grad = out.grad + offset + t * stride;
                const T* y = out.parts + offset + t * stride;
                for (std::int64_t j = 0; j < n.half; ++j) w.d_output[t * n.half + j] = grad[j] * (T(1) - y[j] * y[j]);
            }
            gather(n, in.motion + b * n.frames * n.joints * 3, stream, rows, first, count, w.inputs);
            layer(w.inputs, count, rows.count, in.weight1 + first_row * n.hidden, in.bias1 + own * n.hidden, n.hidden,
                  w.hidden, n.hidden);
            product(w.hidden, std::int64_t(1), n.hidden, n.hidden, w.d_output, n.half, count, d_weight2, n.half, n.half,
                    true);
            add_columns(w.d_output, count, n.half, w.sum2, d_bias2);

            product(w.d_output, n.half, std::int64_t(1), count, out.weight2_t + own * n.half * n.hidden, n.hidden,
                    n.half, w.d_hidden, n.hidden, n.hidden, false);
            for (std::int64_t i = 0; i < count * n.hidden; ++i) w.d_hidden[i] *= T(1) - w.hidden[i] * w.hidden[i];
            product(w.inputs, std::int64_t(1), rows.count, rows.count, w.d_hidden, n.hidden, count, d_weight1, n.hidden,
                    n.hidden, true);
            add_columns(w.d_hidden, count, n.hidden, w.sum1, d_bias1);

            if (coordinates != nullptr) {
                T* d_inputs = coordinates + ((stream * n.batch + b) * n.frames + first) * n.rows + rows.first;
                product(w.d_hidden, n.hidden, std::int64_t(1), count,
                        out.weight1_t + stream * n.hidden * n.rows + rows.first, n.rows, n.hidden, d_inputs, n.rows,
                        rows.count, false);
            }
        }
    }
}

template <typename T>
EncoderKernels<T> encoder_kernels() {
    const auto workspace = [](const EncoderSizes& n) { return EncoderWorkspace<T>(n, nullptr).bytes; };
    return {workspace, &encoder_forward_tile<T>, &encoder_backward_part<T>};
}

template EncoderKernels<float> encoder_kernels<float>();
template EncoderKernels<double> encoder_kernels<double>();

}  // namespace M2T_ISA
}  // namespace m2t
