// Eq. 13, the spatial loss of guided training, from scores: alpha is never written.
#include "cuda/attention_words.h"

namespace m2t::cuda {
namespace {

// Block (word): a thread owns every kThreads-th frame.
template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 8) attention_loss_kernel(const LossParameters<T> in) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t word = blockIdx.x, frames = valid_frames(in.lengths, word / n.words, n.frames);
    const float* goals = in.target + word * n.parts;
    float loss = 0.0f;
    for (std::int64_t t = threadIdx.x; supervised(goals, n.parts) && t < frames; t += kThreads) {
        const PartSoftmax<T> softmax(in.spatial + (word * n.frames + t) * n.parts, n, in.bias);
        for (std::int64_t p = 0; p < n.parts; ++p) {
            if (!(goals[p] >= 0.0f)) continue;
            const float logarithm = softmax.logarithm(p, goals[p], softmax.others(p, n.parts));
            loss -= logarithm > in.least_log ? logarithm : in.least_log;
        }
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) in.loss[word] = loss;
}

}  // namespace

template <typename T>
void attention_loss(const LossParameters<T>& in, const Place& place) {
    const std::int64_t words = in.sizes.batch * in.sizes.words;
    if (words == 0) return;
    launch(attention_loss_kernel<T>, {static_cast<unsigned>(words), 1, 1, kThreads, kReduction}, place, in);
}

template void attention_loss(const LossParameters<float>&, const Place&);
template void attention_loss(const LossParameters<bfloat16>&, const Place&);

}  // namespace m2t::cuda
