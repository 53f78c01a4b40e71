// Part encoder: positions and velocities of every body part through two tanh layers each, and the gradient.
#pragma once

#include <cstdint>

#include "common/bfloat16.h"
#include "common/isa.h"
#include "common/record.h"

namespace m2t {

// Letters as in the glossary. Stream 0 encodes positions, stream 1 velocities; the two halves of H are their outputs.
struct EncoderSizes {
    M2T_FIELDS(
        std::int64_t batch, frames, joints, parts, hidden, half;  // hidden: D; half: H/2
        const std::int64_t *part_joints, *part_sizes;             // all parts' joints, one after the other; (P)
        std::int64_t rows;                                        // 3 N: coordinates of all parts' joints
        bool relative;                                            // the joints come relative to the root
    )
};

// T is what features and weights are stored in: float, double or bfloat16, whose products are summed in float, as Wide.
template <typename T>
struct EncoderInputs {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        const Wide* motion;           // (B, T, J, 3)
        const std::int64_t* lengths;  // (B); outside 0..T they are taken as the nearest bound
        const T *weight1, *bias1;     // (2, 3N, D), (2, P, D)
        const T *weight2, *bias2;     // (2, P, D, H/2), (2, P, H/2)
    )
};

template <typename T>
struct EncoderGrads {
    using Wide = WideOf<T>;
    M2T_FIELDS(
        const T *grad, *parts;  // (B, T, P, H): gradient of the output, and the output
        Wide *weight1, *bias1, *weight2, *bias2;
        Wide* motion;  // (B, T, J, 3), or null where it is not asked for
    )
};

template <typename T>
struct EncoderOutput {
    M2T_FIELDS(T* parts;)  // (B, T, P, H)
};

// Writes zeros beyond a motion's length. The result does not depend on `threads`.
template <typename T>
void encoder_forward(const EncoderSizes& sizes, const EncoderInputs<T>& in, const EncoderOutput<T>& out, int threads,
                     InstructionSet isa);

// Writes every gradient in `out` that is not null. Sums over motions and
// frames are taken in an order that depends on the sizes alone, so the result does not depend on `threads`.
template <typename T>
void encoder_backward(const EncoderSizes& sizes, const EncoderInputs<T>& in, const EncoderGrads<T>& out, int threads,
                      InstructionSet isa);

// Frames that a thread encodes at a time: their hidden layer stays in cache. At most kLinearRows.
constexpr std::int64_t kEncoderTile = 128;

template <typename T>
struct EncoderKernels {
    std::size_t (*workspace)(const EncoderSizes& sizes);
    // Bytes of the packed weights of a part and stream, and packing: for the forward pass, or for the gradient.
    std::size_t (*packed)(const EncoderSizes& sizes);
    void (*pack)(const EncoderSizes& sizes, const EncoderInputs<T>& in, bool gradient, std::int64_t stream,
                 std::int64_t part, unsigned char* packed);
    // Frames [first, first + kEncoderTile) of motion b, or fewer where it ends. `packed`: of all streams and parts.
    void (*forward)(const EncoderSizes& sizes, const EncoderInputs<T>& in, const unsigned char* packed, T* parts,
                    std::int64_t b, std::int64_t first, unsigned char* workspace);
    // All frames of one part and stream. `coordinates` (2, B, T, 3N), or null: their gradients in both streams.
    void (*backward)(const EncoderSizes& sizes, const EncoderInputs<T>& in, const EncoderGrads<T>& out,
                     const unsigned char* packed, WideOf<T>* coordinates, std::int64_t stream, std::int64_t part,
                     unsigned char* workspace);
};

M2T_DECLARE_KERNELS(EncoderKernels, encoder_kernels)

// The kernels for processors that multiply bfloat16: has_bfloat16_products of linear.h.
EncoderKernels<BFloat16> bfloat16_encoder_kernels();

}  // namespace m2t
