// From the gradients of the outputs to those of both scores: eq. 13, 8, 6, 4 and 3 backwards, word by word.
#include "cuda/attention_words.h"

namespace m2t::cuda {
namespace {

template <typename T>
M2T_DEVICE float given(const T* x, std::int64_t i) {
    return x == nullptr ? 0.0f : to_float(x[i]);
}

// Eq. 13 for one frame of a word, a part every kThreads numbers: -1 where its goal is 1, the other parts' exponentials
// where it is 0, and 0 where it does not count. Returns how many do.
template <typename T>
M2T_DEVICE float counted_parts(const PartSoftmax<T>& softmax, const float* goals, std::int64_t parts, float least_log,
                               float* counted) {
    float count = 0.0f;
    for (std::int64_t p = 0; p < parts; ++p) {
        const float others = softmax.others(p, parts);
        const bool counts = goals[p] >= 0.0f && softmax.logarithm(p, goals[p], others) > least_log;
        counted[p * kThreads] = !counts ? 0.0f : goals[p] > 0.0f ? -1.0f : others;
        count += counts ? 1.0f : 0.0f;
    }
    return count;
}

// From these to the gradient of one part's score. The part is one of the others, so no share is above 1.
template <typename T>
M2T_DEVICE float loss_gradient(const PartSoftmax<T>& softmax, const float* counted, float count, std::int64_t p,
                               std::int64_t parts) {
    const float ours = softmax.exponential(p);
    float shares = 0.0f;
    for (std::int64_t q = 0; q < parts; ++q) {
        const float others = counted[q * kThreads];
        if (q != p && others > 0.0f) shares += ours / others;
    }
    return count * softmax.alpha(p) - (counted[p * kThreads] < 0.0f ? 1.0f : 0.0f) - shares;
}

// Eq. 8 and 6 for one frame of a word: its spatial scores become their gradients. Returns the gradient of the window.
template <typename T>
M2T_DEVICE float frame_gradient(const WordGradientParameters<T>& in, std::int64_t word, std::int64_t t, bool guided,
                                float gaussian) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t at = word * n.frames + t;
    float* scores = in.spatial + at * n.parts;
    const PartSoftmax<T> softmax(scores, n, in.bias);
    auto* counted = shared_memory<float>() + kThreads / 32 + threadIdx.x;
    const float count =
        guided ? counted_parts(softmax, in.target + word * n.parts, n.parts, in.least_log, counted) : 0.0f;
    float d_window = given(in.d_window, at), along = 0.0f;
    for (std::int64_t p = 0; p < n.parts; ++p) {
        const std::int64_t place = at * n.parts + p;
        const float alpha = softmax.alpha(p), d = in.scale * given(in.d_weights, place);
        d_window = fmaf(d, alpha, d_window);
        along = fmaf(fmaf(d, gaussian, given(in.d_spatial, place)), alpha, along);
        if (in.weights != nullptr) in.weights[place] = from_float<T>(in.scale * gaussian * alpha);
    }
    for (std::int64_t p = 0; p < n.parts; ++p) {
        const std::int64_t place = at * n.parts + p;
        const float d_alpha = fmaf(in.scale * given(in.d_weights, place), gaussian, given(in.d_spatial, place));
        float d_score = softmax.alpha(p) * (d_alpha - along);
        if (guided) d_score += in.d_loss[word] * loss_gradient(softmax, counted, count, p, n.parts);
        scores[p] = d_score;
    }
    return d_window;
}

// Block (word): a thread owns every kThreads-th frame.
template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 8) attention_word_gradient_kernel(const WordGradientParameters<T> in) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t word = blockIdx.x, frames = valid_frames(in.lengths, word / n.words, n.frames);
    const WordStats stats = in.stats[word];
    const bool guided = in.d_loss != nullptr && supervised(in.target + word * n.parts, n.parts);
    float along_mean = 0.0f, along_std = 0.0f;
    for (std::int64_t t = threadIdx.x; t < frames; t += kThreads) {
        const float u = offset(stats, t) / stats.sigma, gaussian = expf(-0.5f * u * u);
        const float along = frame_gradient(in, word, t, guided, gaussian) * gaussian * u;
        along_mean += along;
        along_std = fmaf(along, u, along_std);
    }
    if (in.weights != nullptr) {
        const std::int64_t row = word * n.frames * n.parts;
        for (std::int64_t i = frames * n.parts + threadIdx.x; i < n.frames * n.parts; i += kThreads) {
            in.weights[row + i] = from_float<T>(0.0f);
        }
    }

    // The moments' gradients are centred, so they sum to 0 over the softmax. A clamped sigma is a constant.
    along_mean = block_sum(along_mean) / stats.sigma + given(in.d_mean, word);
    along_std = block_sum(along_std) / stats.sigma + given(in.d_std, word);
    const float along_variance = stats.variance < in.smallest_variance ? 0.0f : along_std / (2.0f * stats.sigma);
    const std::int64_t row = word * n.frames * n.slots;
    float* z = in.temporal + row;
    const float* rest = in.rest == nullptr ? nullptr : in.rest + row;
    for (std::int64_t t = threadIdx.x; t < frames; t += kThreads) {
        const float distance = offset(stats, t);
        const float d_frame = distance * along_mean + (distance * distance - stats.variance) * along_variance;
        for (std::int64_t s = t * n.slots; s < (t + 1) * n.slots; ++s) {
            z[s] = key_weight(z, rest, s, stats.top) / stats.total * d_frame;
        }
    }

    if (!several_rows(n)) return;
    __syncthreads();  // every frame's gradients are written
    const float* d_scores = in.spatial + word * n.frames * n.parts;
    for (std::int64_t p = threadIdx.x / 32; p < n.parts; p += kThreads / 32) {
        float sum = 0.0f;
        for (std::int64_t t = threadIdx.x % 32; t < frames; t += 32) sum += d_scores[t * n.parts + p];
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) in.d_bias[word * n.parts + p] = sum;
    }
}

}  // namespace

template <typename T>
void attention_word_gradient(const WordGradientParameters<T>& in, const Place& place) {
    const std::int64_t words = in.sizes.batch * in.sizes.words;
    if (words == 0) return;
    const std::size_t counted = in.d_loss == nullptr ? 0 : in.sizes.parts * kThreads * sizeof(float);
    launch(attention_word_gradient_kernel<T>, {static_cast<unsigned>(words), 1, 1, kThreads, kReduction + counted},
           place, in);
}

template void attention_word_gradient(const WordGradientParameters<float>&, const Place&);
template void attention_word_gradient(const WordGradientParameters<bfloat16>&, const Place&);

}  // namespace m2t::cuda
