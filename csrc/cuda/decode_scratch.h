// Where in one piece of memory everything lies that decoding keeps there, and how much it is.
#pragma once

#include "cuda/arena.h"
#include "cuda/decode_pack.h"
#include "cuda/decode_state.h"

namespace m2t::cuda {

// `slots`: of all teams.
template <typename T>
void take_scratch(DecodeScratch<T>& s, const DecodeSizes& n, int beams, std::int64_t width, std::int64_t slots,
                  bool sampling, Arena& arena) {
    const std::int64_t rows = slots * beams, tiles = (n.vocabulary + kColumns - 1) / kColumns;
    for (float** x : {&s.hidden, &s.cell, &s.top, &s.top_cell}) arena.take(*x, 2 * rows * n.hidden);
    arena.take(s.query, rows * 2 * ((n.attention_dim + 3) / 4 * 4));
    arena.take(s.z, rows * n.frames * n.slots);
    arena.take(s.alpha, rows * n.frames * n.parts);
    arena.take(s.context, rows * n.part_dim);
    for (float** x : {&s.language, &s.adaptive}) arena.take(*x, rows * n.attention_dim);
    arena.take(s.features, rows * n.mixture);
    arena.take(s.logits, rows * tiles * kColumns);
    for (float** x : {&s.tile_max, &s.tile_sum}) arena.take(*x, rows * tiles);
    for (float** x :
         {&s.gate, &s.total, &s.row_max, &s.row_log, &s.best_total, &s.last_total, &s.taken_total, &s.done_score}) {
        arena.take(*x, rows);
    }
    for (int** x :
         {&s.best_tile, &s.last_word, &s.taken_row, &s.taken_word, &s.done_length, &s.done_row, &s.done_word}) {
        arena.take(*x, rows);
    }
    arena.take(s.merged_score, 3 * rows);
    for (int** x : {&s.merged_length, &s.merged_row, &s.merged_word}) arena.take(*x, 3 * rows);
    for (int** x : {&s.motion, &s.step, &s.live, &s.finished, &s.finished_length}) arena.take(*x, slots);
    const std::int64_t recorded = sampling ? 0 : rows * width;
    for (int** x : {&s.words, &s.origins}) arena.take(*x, recorded);
    arena.take(s.best_row, slots * width);
    arena.take(s.record_window, recorded * n.frames);
    arena.take(s.record_alpha, recorded * n.frames * n.parts);
    for (T** x : {&s.record_mean, &s.record_std, &s.record_gate}) arena.take(*x, recorded);
    arena.take(s.next_motion, 1);
}

// The layers' sizes and weights, and the pieces that they are packed from.
template <typename T>
void take_layers(Decode<T>& d, PackPieces<T>& pack, Arena& arena) {
    const DecodeSizes& n = d.n;
    const DecoderWeights<T>& w = d.w;
    const int dim = n.attention_dim, padded = (dim + 3) / 4 * 4, gates = 4 * n.hidden;
    const int columns[kLayers] = {gates, gates, 2 * padded, dim, dim, n.mixture, n.vocabulary};
    const int terms[kLayers] = {n.word + n.hidden,       2 * n.hidden, n.hidden, n.hidden, n.part_dim,
                                n.word + dim + n.hidden, n.mixture};
    T* packed[kLayers];
    for (int i = 0; i < kLayers; ++i) {
        d.layer[i].terms = (terms[i] + PackOrder<T>::kTerms - 1) / PackOrder<T>::kTerms * PackOrder<T>::kTerms;
        d.layer[i].columns = (columns[i] + kColumns - 1) / kColumns * kColumns;
        arena.take(packed[i], static_cast<std::int64_t>(d.layer[i].terms) * d.layer[i].columns);
        d.layer[i].weight = packed[i];
    }
    int count = 0;
    // The excess in terms belongs to a layer's last piece, that of the queries' vectors to each.
    const auto add = [&](LayerName layer, const T* from, int rows, int width, int of, int column, int term) {
        PackPiece<T>& piece = pack.piece[count++];
        piece = {from,
                 packed[layer],
                 rows,
                 width,
                 rows,
                 width,
                 of,
                 column,
                 term,
                 d.layer[layer].terms,
                 d.layer[layer].columns};
        if (layer == kQuery) piece.all_rows = padded;
        if (term + width == terms[layer]) piece.all_terms = d.layer[layer].terms - term;
    };
    add(kBottom, w.bottom_input, gates, n.word, 4, 0, 0);
    add(kBottom, w.bottom_hidden, gates, n.hidden, 4, 0, n.word);
    add(kTop, w.top_input, gates, n.hidden, 4, 0, 0);
    add(kTop, w.top_hidden, gates, n.hidden, 4, 0, n.hidden);
    add(kQuery, w.temporal_query, dim, n.hidden, 1, 0, 0);
    add(kQuery, w.spatial_query, dim, n.hidden, 1, padded, 0);
    add(kLanguage, w.language, dim, n.hidden, 1, 0, 0);
    add(kContext, w.context, dim, n.part_dim, 1, 0, 0);
    add(kMixture, w.mixture, n.mixture, terms[kMixture], 1, 0, 0);
    add(kOutput, w.output, n.vocabulary, n.mixture, 1, 0, 0);
}

}  // namespace m2t::cuda
