// One step of LSTM cells on a CUDA device, gates in torch's order i, f, g, o: of a few rows the whole step, of many
// what follows torch's products.
//
// Every array is a matrix with contiguous rows, one row for each hypothesis.
#pragma once

#include <cstdint>

#include "common/record.h"
#include "cuda/place.h"

namespace m2t::cuda {

// I is C for the top LSTM, whose input is the bottom's next_hidden.
template <typename T>
struct LstmCell {
    M2T_FIELDS(
        const T *x, *hidden, *cell;             // (N, I), (N, C), (N, C)
        const T *input_weight, *hidden_weight;  // (4C, I), (4C, C)
        const T *input_bias, *hidden_bias;      // (4C)
        T *next_hidden, *next_cell;             // (N, C)
        T* gates;                               // (N, 4C) after their nonlinearities, or null
        std::int64_t inputs;                    // I
    )
};

// Both cells of the decoder's next word: the top one starts with its own state while the bottom one runs.
template <typename T>
void lstm_cells(std::int64_t rows, std::int64_t units, const LstmCell<T>& bottom, const LstmCell<T>& top,
                const Place& place);

// x W^T and hidden U^T, (N, 4C) each.
template <typename T>
struct LstmProducts {
    M2T_FIELDS(const T *input, *hidden;)
};

// What follows the products of one cell; x and the weights are not read.
template <typename T>
void lstm_forward(std::int64_t rows, std::int64_t units, const LstmProducts<T>& products, const LstmCell<T>& cell,
                  const Place& place);

// Gradients of the sums under the nonlinearities, (N, 4C), and of the cell before; those of next_hidden and next_cell
// may be null.
template <typename T>
struct LstmBackward {
    M2T_FIELDS(
        const T *d_next_hidden, *d_next_cell;  // (N, C)
        const T *gates, *cell, *next_cell;     // (N, 4C), (N, C), (N, C)
        T *d_sums, *d_cell;                    // (N, 4C), (N, C)
    )
};

template <typename T>
void lstm_backward(std::int64_t rows, std::int64_t units, const LstmBackward<T>& p, const Place& place);

}  // namespace m2t::cuda
