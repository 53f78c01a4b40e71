// Spreads the part encoder over threads, leads the gradient back to the joints, and Python's way to both.
#include "cpu/encoder.h"

#include <array>
#include <string>
#include <vector>

#include "common/functions.h"
#include "common/huge_pages.h"
#include "common/parallel.h"
#include "common/workspace.h"

namespace m2t {
namespace {

template <typename T>
EncoderKernels<T> kernels_for(InstructionSet isa) {
    return encoder_kernels<T>(isa);
}
template <>
EncoderKernels<BFloat16> kernels_for<BFloat16>(InstructionSet) {
    return bfloat16_encoder_kernels();
}

// The weights of all parts and streams, packed.
template <typename T>
class PackedEncoder {
public:
    PackedEncoder(const EncoderKernels<T>& kernel, const EncoderSizes& sizes, const EncoderInputs<T>& in, bool gradient,
                  int threads)
        : memory_(static_cast<std::size_t>(2 * sizes.parts) * kernel.packed(sizes)) {
        parallel_for_uneven(2 * sizes.parts, threads, [&](std::int64_t i, int) {
            auto* to = static_cast<unsigned char*>(memory_.data()) + static_cast<std::size_t>(i) * kernel.packed(sizes);
            kernel.pack(sizes, in, gradient, i / sizes.parts, i % sizes.parts, to);
        });
    }
    const unsigned char* get() const { return static_cast<const unsigned char*>(memory_.data()); }

private:
    Buffer memory_;
};

}  // namespace

template <typename T>
void encoder_forward(const EncoderSizes& sizes, const EncoderInputs<T>& in, const EncoderOutput<T>& out, int threads,
                     InstructionSet isa) {
    const EncoderKernels<T> kernel = kernels_for<T>(isa);
    const PackedEncoder<T> packed(kernel, sizes, in, false, threads);
    const Workspaces workspaces(threads, kernel.workspace(sizes));
    prefer_huge_pages(out.parts,
                      static_cast<std::size_t>(sizes.batch * sizes.frames * sizes.parts * 2 * sizes.half) * sizeof(T));
    const std::int64_t tiles = (sizes.frames + kEncoderTile - 1) / kEncoderTile;
    parallel_for_uneven(sizes.batch * tiles, threads, [&](std::int64_t item, int thread) {
        kernel.forward(sizes, in, packed.get(), out.parts, item / tiles, item % tiles * kEncoderTile,
                       workspaces.of(thread));
    });
}

namespace {

// Of one motion: from the gradients of both streams' coordinates to that of the joints.
template <typename T>
void motion_gradient(const EncoderSizes& n, const T* d_positions, const T* d_velocity, std::int64_t valid, T* out) {
    const std::int64_t width = 3 * n.joints;
    std::fill(out, out + n.frames * width, T(0));
    const auto add = [&](const T* from, T* pose, T sign) {
        for (std::int64_t j = 0; j < n.rows / 3; ++j) {
            for (std::int64_t axis = 0; axis < 3; ++axis) {
                const T d = sign * from[3 * j + axis];
                pose[3 * n.part_joints[j] + axis] += d;
                // Every joint but the root had the root subtracted.
                if (n.part_joints[j] != 0 && !n.relative) pose[axis] -= d;
            }
        }
    };
    for (std::int64_t t = 0; t < valid; ++t) {
        add(d_positions + t * n.rows, out + t * width, T(1));
        if (t == 0) continue;  // velocity is 0 there, whatever the motion
        add(d_velocity + t * n.rows, out + t * width, T(1));
        add(d_velocity + t * n.rows, out + (t - 1) * width, T(-1));
    }
}

}  // namespace

template <typename T>
void encoder_backward(const EncoderSizes& sizes, const EncoderInputs<T>& in, const EncoderGrads<T>& out, int threads,
                      InstructionSet isa) {
    using Wide = WideOf<T>;
    const EncoderKernels<T> kernel = kernels_for<T>(isa);
    const PackedEncoder<T> packed(kernel, sizes, in, true, threads);
    const Workspaces workspaces(threads, kernel.workspace(sizes));
    const std::int64_t stream_size = sizes.batch * sizes.frames * sizes.rows;
    std::vector<Wide> coordinates(out.motion == nullptr ? 0 : static_cast<std::size_t>(2 * stream_size), Wide(0));
    // A part and stream has weights of its own, so each is one thread's work, all motions in order.
    parallel_for_uneven(2 * sizes.parts, threads, [&](std::int64_t item, int thread) {
        Wide* wanted = out.motion == nullptr ? nullptr : coordinates.data();
        kernel.backward(sizes, in, out, packed.get(), wanted, item % 2, item / 2, workspaces.of(thread));
    });
    if (out.motion == nullptr) return;
    parallel_for_uneven(sizes.batch, threads, [&](std::int64_t b, int) {
        const Wide* positions = coordinates.data() + b * sizes.frames * sizes.rows;
        motion_gradient(sizes, positions, positions + stream_size,
                        std::clamp<std::int64_t>(in.lengths[b], 0, sizes.frames),
                        out.motion + b * sizes.frames * sizes.joints * 3);
    });
}

namespace {

template <typename T>
void define(Functions& to) {
    to.function<T>("encoder_forward", encoder_forward<T>, {"sizes", "inputs", "outputs", "threads", "instruction_set"});
    to.function<T>("encoder_backward", encoder_backward<T>, {"sizes", "inputs", "grads", "threads", "instruction_set"});
}

const Registered registered([](Functions& to) {
    define<float>(to);
    define<double>(to);
    define<BFloat16>(to);
});

}  // namespace

}  // namespace m2t
