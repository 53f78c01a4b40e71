// The weights of a decoder's layers as its kernel reads them: in PackOrder, with whole vectors of four and tiles.
#pragma once

#include "cuda/decode_state.h"

namespace m2t::cuda {

constexpr int kPackTile = 32;
constexpr int kPackThreads = 256;
constexpr int kPieces = 10;

// A matrix (rows, terms) that becomes terms [first_term, ...) of columns [first_column, ...) of a packed layer. The
// rows are `gates` blocks of equal size; their first ones become columns beside one another, and so on. Zeros fill
// `all_rows` and `all_terms`; what lies beyond is multiplied, but nobody reads the result.
template <typename T>
struct PackPiece {
    const T* from;
    T* to;
    int rows, terms, all_rows, all_terms, gates, first_column, first_term, layer_terms, columns;
};

template <typename T>
struct PackPieces {
    PackPiece<T> piece[kPieces];
    int* counter;  // is set to `count`
    int count;
};

inline std::int64_t pack_tiles(std::int64_t rows, std::int64_t terms) {
    return (rows + kPackTile - 1) / kPackTile * ((terms + kPackTile - 1) / kPackTile);
}

template <typename T>
M2T_KERNEL void M2T_BOUNDS(kPackThreads, 1) decode_pack_kernel(M2T_PARAMETER PackPieces<T> p) {
    const PackPiece<T>& piece = p.piece[blockIdx.y];
    float* tile = shared_memory<float>();  // (kPackTile, kPackTile + 1)
    const int x = static_cast<int>(threadIdx.x) % kPackTile, y = static_cast<int>(threadIdx.x) / kPackTile;
    constexpr int step = kPackThreads / kPackTile;
    const int across = (piece.all_terms + kPackTile - 1) / kPackTile;
    const int down = (piece.all_rows + kPackTile - 1) / kPackTile;
    const int units = piece.rows / piece.gates;
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) *p.counter = p.count;
    for (int i = static_cast<int>(blockIdx.x); i < across * down; i += static_cast<int>(gridDim.x)) {
        // Columns of the packed weight, and the rows they come from.
        const int term = i % across * kPackTile, column = i / across * kPackTile;
        __syncthreads();
        for (int j = y; j < kPackTile; j += step) {
            const int c = column + j, row = c % piece.gates * units + c / piece.gates;
            const bool inside = c < piece.rows && term + x < piece.terms;
            tile[j * (kPackTile + 1) + x] =
                inside ? to_float(piece.from[static_cast<std::int64_t>(row) * piece.terms + term + x]) : 0.0f;
        }
        __syncthreads();
        for (int j = static_cast<int>(threadIdx.x); j < kPackTile * kPackTile; j += kPackThreads) {
            int c = j % kPackTile, k = j / kPackTile;
            if (PackOrder<T>::kMatrix) {  // threads side by side write side by side
                const int lane = j % 256 / 8, pair = j % 8 / 2;
                c = j / 512 * 16 + pair % 2 * 8 + lane / 4;
                k = j / 256 % 2 * 16 + lane % 4 * 4 + pair / 2 * 2 + j % 2;
            }
            if (term + k >= piece.all_terms || column + c >= piece.all_rows) continue;
            const std::int64_t to = PackOrder<T>::place(piece.first_term + term + k, piece.first_column + column + c,
                                                        piece.layer_terms, piece.columns);
            piece.to[to] = from_float<T>(tile[c * (kPackTile + 1) + k]);
        }
    }
}

}  // namespace m2t::cuda
