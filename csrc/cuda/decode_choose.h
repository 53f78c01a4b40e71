// After a word: which hypotheses go on, which captions are complete, and which motion is next. A warp decides a motion.
#pragma once

#include <cmath>

#include "cuda/decode_state.h"
#include "cuda/ranked.h"

namespace m2t::cuda {

template <typename T>
struct Chooser {
    const Team<T>& t;
    int slot, motion, step, live;  // slot among those of all teams
    std::int64_t first;            // row of the first hypothesis

    M2T_DEVICE const Decode<T>& d() const { return t.d; }
    M2T_DEVICE const DecodeScratch<T>& s() const { return t.d.s; }
    M2T_DEVICE int beams() const { return t.d.o.beams; }
    M2T_DEVICE int tiles() const { return t.d.layer[kOutput].columns / kColumns; }
    M2T_DEVICE const float* logits(int k) const { return s().logits + (first + k) * t.d.layer[kOutput].columns; }
    M2T_DEVICE float* tile_max(int k) const { return s().tile_max + (first + k) * tiles(); }

    // log(sum(exp(logits))) of hypothesis k, in two parts. False where that is no number.
    M2T_DEVICE bool normalise(int k) const {
        const float *maxima = tile_max(k), *sums = s().tile_sum + (first + k) * tiles();
        float most = -INFINITY, total = 0.0f;
        for (int j = t.lane(); j < tiles(); j += 32) most = fmaxf(most, maxima[j]);
        most = warp_max(most);
        for (int j = t.lane(); j < tiles(); j += 32) {
            total += sums[j] * (maxima[j] == -INFINITY ? 1.0f : expf(maxima[j] - most));
        }
        total = warp_sum(total);
        if (t.lane() == 0) {
            s().row_max[first + k] = most;
            s().row_log[first + k] = logf(total);
        }
        __syncwarp();
        return total > 0.0f && most < INFINITY;
    }

    // Log-probability of hypothesis k with one more word.
    M2T_DEVICE float total_with(int k, float logit) const {
        return s().total[first + k] + ((logit - s().row_max[first + k]) - s().row_log[first + k]);
    }

    // The first of the largest logits of hypothesis k; word 0 if none is larger than -inf.
    M2T_DEVICE int likeliest(int k) const {
        Ranked tile = {-INFINITY, kNowhere};
        for (int j = t.lane(); j < tiles(); j += 32) tile = larger(tile, {tile_max(k)[j], j});
        tile = warp_largest(tile);
        if (!(tile.value > -INFINITY)) return 0;
        const Vec4 x = load_vec4(logits(k) + tile.at * kColumns + 4 * t.lane());
        Ranked word = {-INFINITY, kNowhere};
        M2T_UNROLL
        for (int c = 0; c < 4; ++c) word = larger(word, {x.x[c], tile.at * kColumns + 4 * t.lane() + c});
        return warp_largest(word).at;
    }

    M2T_DEVICE float score_of(float total) const {
        const float words = static_cast<float>(step + 1), power = t.d.o.length_penalty;
        return total / (power == 1.0f ? words : powf(words, power));
    }

    M2T_DEVICE std::int64_t chosen(int at, int k) const {
        return (static_cast<std::int64_t>(slot) * t.d.o.max_length + at) * beams() + k;
    }

    // Appends the likeliest word. True when the caption is complete.
    M2T_DEVICE bool end_greedily() const {
        if (!normalise(0)) return give_up();
        const int word = likeliest(0);
        const bool complete = word == t.d.o.end || step + 1 == t.d.o.max_length;
        if (t.lane() == 0) {
            const float total = total_with(0, logits(0)[word]);
            s().total[first] = total;
            s().words[chosen(step, 0)] = word;
            s().origins[chosen(step, 0)] = 0;
            s().done_score[first] = score_of(total);
            s().done_length[first] = step + 1;
            s().done_row[first] = 0;
            s().done_word[first] = word;
        }
        __syncwarp();
        return complete;
    }

    // Hypothesis k's best tile among those that are left, by its largest logit.
    M2T_DEVICE void find_tile(int k) const {
        Ranked best = {-INFINITY, kNowhere};
        for (int j = t.lane(); j < tiles(); j += 32) best = larger(best, {total_with(k, tile_max(k)[j]), j});
        best = warp_largest(best);
        if (t.lane() == 0) {
            s().best_total[first + k] = best.value;
            s().best_tile[first + k] = best.at;
        }
        __syncwarp();
    }

    // The best word of a tile of hypothesis k that was not taken yet; the tile's largest logit becomes the rest's.
    M2T_DEVICE Ranked take(int k, int tile, bool take_it) const {
        const float last = s().last_total[first + k];
        const int last_word = s().last_word[first + k], place = tile * kColumns + 4 * t.lane();
        const Vec4 x = load_vec4(logits(k) + place);
        float totals[4];
        Ranked best = {-INFINITY, kNowhere};
        M2T_UNROLL
        for (int c = 0; c < 4; ++c) {
            const float total = total_with(k, x.x[c]);
            const bool free = place + c != t.d.o.end && (total < last || (total == last && place + c > last_word));
            totals[c] = free ? total : -INFINITY;
            best = larger(best, {totals[c], place + c});
        }
        best = warp_largest(best);
        float rest = -INFINITY;
        M2T_UNROLL
        for (int c = 0; c < 4; ++c) {
            const bool left = !take_it || totals[c] < best.value || (totals[c] == best.value && place + c > best.at);
            if (left && totals[c] > -INFINITY) rest = fmaxf(rest, x.x[c]);
        }
        rest = warp_max(rest);
        __syncwarp();
        if (t.lane() == 0) {
            tile_max(k)[tile] = rest;
            if (take_it) {
                s().last_total[first + k] = best.value;
                s().last_word[first + k] = best.at;
            }
        }
        __syncwarp();
        return best;
    }

    // The best continuations of all hypotheses, best first, none of which is the end; how many there are.
    M2T_DEVICE int take_best() const {
        for (int k = 0; k < live; ++k) {
            if (t.lane() == 0) {
                s().last_total[first + k] = INFINITY;
                s().last_word[first + k] = -1;
            }
            __syncwarp();
            take(k, t.d.o.end / kColumns, false);
            find_tile(k);
        }
        int count = 0;
        for (; count < beams(); ++count) {
            Ranked row = {-INFINITY, kNowhere};
            for (int k = t.lane(); k < live; k += 32) row = larger(row, {s().best_total[first + k], k});
            row = warp_largest(row);
            if (!(row.value > -INFINITY)) break;
            const Ranked best = take(row.at, s().best_tile[first + row.at], true);
            find_tile(row.at);
            if (t.lane() == 0) {
                s().taken_total[first + count] = best.value;
                s().taken_row[first + count] = row.at;
                s().taken_word[first + count] = best.at;
            }
            __syncwarp();
        }
        return count;
    }

    M2T_DEVICE void candidate(int at, float score, int length, int row, int word) const {
        s().merged_score[3 * first + at] = score;
        s().merged_length[3 * first + at] = length;
        s().merged_row[3 * first + at] = row;
        s().merged_word[3 * first + at] = word;
    }

    // The best of the finished hypotheses, of the growing ones that end here, and of `grown` ones that go no further;
    // of equal ones the first.
    M2T_DEVICE void merge_done(int grown) const {
        const int all = beams() + live + grown;
        for (int k = t.lane(); k < all; k += 32) {
            if (k < beams()) {
                const std::int64_t from = first + k;
                candidate(k, s().done_score[from], s().done_length[from], s().done_row[from], s().done_word[from]);
            } else if (k < beams() + live) {
                const int row = k - beams();
                candidate(k, score_of(total_with(row, logits(row)[t.d.o.end])), step + 1, row, t.d.o.end);
            } else {
                const std::int64_t from = first + (k - beams() - live);
                candidate(k, score_of(s().taken_total[from]), step + 1, s().taken_row[from], s().taken_word[from]);
            }
        }
        __syncwarp();
        const float* scores = s().merged_score + 3 * first;
        for (int k = t.lane(); k < all; k += 32) {
            const float score = scores[k];
            int before = 0;
            for (int j = 0; j < all; ++j) before += scores[j] > score || (scores[j] == score && j < k);
            if (before < beams()) {
                s().done_score[first + before] = score;
                s().done_length[first + before] = s().merged_length[3 * first + k];
                s().done_row[first + before] = s().merged_row[3 * first + k];
                s().done_word[first + before] = s().merged_word[3 * first + k];
            }
        }
        __syncwarp();
    }

    // Ends and continues the hypotheses. True when the best captions are decided.
    M2T_DEVICE bool end_beams() {
        bool numbers = true;
        for (int k = 0; k < live; ++k) numbers = normalise(k) && numbers;
        if (!numbers) return give_up();
        const int count = take_best();
        const bool last = step + 1 == t.d.o.max_length;
        merge_done(last ? count : 0);
        if (last || count == 0) return true;
        if (s().done_score[first + beams() - 1] >= score_of(s().taken_total[first])) return true;
        for (int k = t.lane(); k < count; k += 32) {
            s().total[first + k] = s().taken_total[first + k];
            s().words[chosen(step, k)] = s().taken_word[first + k];
            s().origins[chosen(step, k)] = s().taken_row[first + k];
        }
        live = count;
        __syncwarp();
        return false;
    }

    // A motion whose logits are no numbers has no caption, and its scores say so.
    M2T_DEVICE bool give_up() const {
        for (int k = t.lane(); k < beams(); k += 32) {
            s().done_score[first + k] = NAN;
            s().done_length[first + k] = 0;
        }
        __syncwarp();
        return true;
    }

    // Tokens and scores of the motion, and which rows the attention of its best caption comes from.
    M2T_DEVICE void write() const {
        const int width = t.d.o.max_length;
        for (int k = t.lane(); k < beams(); k += 32) {
            const std::int64_t at = static_cast<std::int64_t>(motion) * beams() + k;
            t.d.out.scores[at] = s().done_score[first + k];
            std::int64_t* tokens = t.d.out.tokens + at * width;
            const int length = s().done_length[first + k];
            for (int j = length; j < width; ++j) tokens[j] = t.d.o.pad;
            int row = s().done_row[first + k], word = s().done_word[first + k];
            for (int j = length - 1; j >= 0; --j) {
                tokens[j] = word;
                if (k == 0) s().best_row[static_cast<std::int64_t>(slot) * width + j] = row;
                if (j > 0) {
                    word = s().words[chosen(j - 1, row)];
                    row = s().origins[chosen(j - 1, row)];
                }
            }
        }
    }

    // The slot's next motion, if there is one; every lane has come here.
    M2T_DEVICE void begin_next(bool complete) const {
        if (t.lane() == 0) {
            s().finished[slot] = complete && t.d.out.tokens != nullptr ? motion : -1;
            if (complete) {
                s().finished_length[slot] = t.d.out.tokens != nullptr ? s().done_length[first] : 0;
                const int next = next_number(s().next_motion);
                begin(next < t.d.n.batch ? next : -1);
            } else {
                s().step[slot] = step + 1;
                s().live[slot] = live;
            }
        }
    }

    // The slot has a motion, with one empty hypothesis, or none; one lane.
    M2T_DEVICE void begin(int next) const {
        s().motion[slot] = next;
        s().step[slot] = 0;
        s().live[slot] = next < 0 ? 0 : 1;
        s().total[first] = 0.0f;
        for (int k = 0; k < beams(); ++k) {
            s().done_score[first + k] = -INFINITY;
            s().done_length[first + k] = 0;
            s().done_row[first + k] = s().done_word[first + k] = 0;
        }
    }
};

// The end of a word, for the motions that this block decides.
template <typename T>
M2T_DEVICE void choose(const Team<T>& t) {
    const Decode<T>& d = t.d;
    for (int i = t.rank() + t.size() * t.warp(); i < d.slots; i += t.size() * kDecodeWarps) {
        const int slot = t.first_slot() + i;
        const std::int64_t first = static_cast<std::int64_t>(slot) * d.o.beams;
        Chooser<T> chooser = {t, slot, d.s.motion[slot], d.s.step[slot], d.s.live[slot], first};
        __syncwarp();
        bool complete = false;
        if (chooser.motion < 0) {
            if (t.lane() == 0) d.s.finished[slot] = -1;
            continue;
        }
        if (d.sample.words != nullptr) {
            if (t.predicts()) {
                const int word = chooser.likeliest(0);
                const std::int64_t at = static_cast<std::int64_t>(chooser.motion) * d.o.max_length + chooser.step + 1;
                if (t.lane() == 0) d.sample.words[at] = word;
            }
            complete = chooser.step + 1 >= t.shared().steps;
        } else {
            complete = d.o.beams == 1 ? chooser.end_greedily() : chooser.end_beams();
            if (complete) chooser.write();
        }
        __syncwarp();
        chooser.begin_next(complete);
    }
}

}  // namespace m2t::cuda
