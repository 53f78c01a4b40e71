// What is done to the scores of one word: softmax over the frames, moments, window, softmax over the parts (eq. 3, 4,
// 6).
//
// A few numbers for each frame: they lie in the second cache, and are read again rather than kept.
#include "cuda/attention_words.h"

namespace m2t::cuda {
namespace {

// Block (word): three passes over its temporal scores. The variance is taken about the mean, and the mean from the
// frame of the largest score, so nothing cancels.
template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 8) attention_moments_kernel(const MomentParameters<T> in) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t word = blockIdx.x, frames = valid_frames(in.lengths, word / n.words, n.frames);
    const std::int64_t row = word * n.frames * n.slots;
    const float* z = in.temporal + row;
    const float* rest = in.rest == nullptr ? nullptr : in.rest + row;

    float top = -INFINITY;
    for (std::int64_t i = threadIdx.x; i < frames * n.slots; i += kThreads) top = fmaxf(top, z[i]);
    top = block_max(top);
    float nearest = -INFINITY;  // minus the first frame of the largest score
    for (std::int64_t i = threadIdx.x; i < frames * n.slots; i += kThreads) {
        if (z[i] == top) nearest = fmaxf(nearest, -static_cast<float>(i / n.slots));
    }
    nearest = block_max(nearest);
    const float anchor = nearest == -INFINITY ? 0.0f : -nearest;

    float total = 0.0f, along = 0.0f;
    for (std::int64_t t = threadIdx.x; t < frames; t += kThreads) {
        const float weight = frame_weight(z, rest, t, n.slots, top);
        total += weight;
        along = fmaf(weight, static_cast<float>(t) - anchor, along);
    }
    total = block_sum(total);
    const float delta = block_sum(along) / total;
    float squares = 0.0f;
    for (std::int64_t t = threadIdx.x; t < frames; t += kThreads) {
        const float distance = static_cast<float>(t) - anchor - delta;
        squares = fmaf(frame_weight(z, rest, t, n.slots, top), distance * distance, squares);
    }
    const float variance = block_sum(squares) / total;
    if (threadIdx.x != 0) return;

    // Comparisons are false for NaN: a word without a mean keeps every frame, and shows.
    const float sigma = sqrtf(variance < in.smallest_variance ? in.smallest_variance : variance);
    const float mean = anchor + delta, low = mean - in.reach * sigma, high = mean + in.reach * sigma;
    const bool all = in.reach == 0.0f;
    const auto end = static_cast<std::int32_t>(frames);
    in.stats[word] = {top,
                      total,
                      anchor,
                      delta,
                      variance,
                      sigma,
                      !all && low > 0.0f ? static_cast<std::int32_t>(low) : 0,
                      !all && high < static_cast<float>(frames - 1) ? static_cast<std::int32_t>(high) + 1 : end};
    if (in.mean != nullptr) in.mean[word] = from_float<T>(mean);
    if (in.std != nullptr) in.std[word] = from_float<T>(sigma);
}

// Thread (word, frame).
template <typename T>
M2T_KERNEL void M2T_BOUNDS(kThreads, 8) attention_window_kernel(const WindowParameters<T> in) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t blocks = ceiling(n.frames, kThreads);
    const std::int64_t word = blockIdx.x / blocks, t = blockIdx.x % blocks * kThreads + threadIdx.x;
    if (t >= n.frames) return;
    const WordStats stats = in.stats[word];
    const std::int64_t at = word * n.frames + t, length = valid_frames(in.lengths, word / n.words, n.frames);
    float* spatial = in.spatial + at * n.parts;
    T* out = in.out_spatial == nullptr ? nullptr : in.out_spatial + at * n.parts;
    if (t >= length || t < stats.begin || t >= stats.end) {
        for (std::int64_t p = 0; p < n.parts; ++p) {
            if (t < length) spatial[p] = 0.0f;
            if (out != nullptr) out[p] = from_float<T>(0.0f);
        }
        if (out != nullptr) in.out_window[at] = from_float<T>(0.0f);
        return;
    }
    const PartSoftmax<T> softmax(spatial, n, in.bias);
    const float u = offset(stats, t) / stats.sigma, gaussian = expf(-0.5f * u * u);
    if (out != nullptr) in.out_window[at] = from_float<T>(gaussian);
    for (std::int64_t p = 0; p < n.parts; ++p) {
        const float alpha = softmax.alpha(p);
        if (out != nullptr) out[p] = from_float<T>(alpha);
        spatial[p] = in.scale * gaussian * alpha;
    }
}

}  // namespace

template <typename T>
void attention_moments(const MomentParameters<T>& in, const Place& place) {
    const std::int64_t words = in.sizes.batch * in.sizes.words;
    if (words == 0) return;
    launch(attention_moments_kernel<T>, {static_cast<unsigned>(words), 1, 1, kThreads, kReduction}, place, in);
}

template <typename T>
void attention_window(const WindowParameters<T>& in, const Place& place) {
    const AttentionSizes& n = in.sizes;
    const std::int64_t blocks = n.batch * n.words * ceiling(n.frames, kThreads);
    if (blocks == 0) return;
    launch(attention_window_kernel<T>, {static_cast<unsigned>(blocks), 1, 1, kThreads, 0}, place, in);
}

template void attention_moments(const MomentParameters<float>&, const Place&);
template void attention_moments(const MomentParameters<bfloat16>&, const Place&);
template void attention_window(const WindowParameters<float>&, const Place&);
template void attention_window(const WindowParameters<bfloat16>&, const Place&);

}  // namespace m2t::cuda
