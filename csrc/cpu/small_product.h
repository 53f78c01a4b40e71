// Matrix products of one motion, small enough to stay in cache, blocked for registers. Included by kernels: see isa.h.
#pragma once

#include "common/vector_math.h"

namespace m2t {
namespace M2T_ISA {

// Rows of the result that a block holds in registers, and vectors of each: 32 registers with AVX-512, else 16.
constexpr int kBlockRows = 4;
constexpr int kBlockVectors = M2T_VECTOR_BYTES == 64 ? 4 : 2;
// Terms that are summed before they are added to the result: bounds the rounding error of long sums.
constexpr std::int64_t kTile = 128;

// c[i][:] = sum over k of a(i, k) b[k][:], added to what is there if `add`, for Rows rows and Vectors vectors, of which
// the last has `rest` lanes if Partial. a(i, k) lies at a[i * row_step + k * term_step].
template <typename T, int Rows, int Vectors, bool Partial, typename B>
void product_block(const T* a, std::int64_t row_step, std::int64_t term_step, const B* b, std::int64_t b_stride,
                   std::int64_t terms, T* c, std::int64_t c_stride, std::int64_t rest, bool add) {
    constexpr std::int64_t W = lanes<T>();
    Vec<T> total[Rows][Vectors] = {};
    for (std::int64_t k = 0; k < terms; ++k) {
        Vec<T> row[Vectors];
        for (int v = 0; v < Vectors; ++v) {
            const B* p = b + k * b_stride + v * W;
            row[v] = Partial && v == Vectors - 1 ? load_first(p, rest) : load(p);
        }
        for (int i = 0; i < Rows; ++i) {
            const Vec<T> x = all(a[i * row_step + k * term_step]);
            for (int v = 0; v < Vectors; ++v) total[i][v] += x * row[v];
        }
    }
    for (int i = 0; i < Rows; ++i) {
        for (int v = 0; v < Vectors; ++v) {
            T* p = c + i * c_stride + v * W;
            const std::int64_t count = Partial && v == Vectors - 1 ? rest : W;
            store_first(p, add ? load_first(p, count) + total[i][v] : total[i][v], count);
        }
    }
}

template <typename T, int Vectors, bool Partial, typename B>
void product_rows(const T* a, std::int64_t row_step, std::int64_t term_step, std::int64_t rows, const B* b,
                  std::int64_t b_stride, std::int64_t terms, T* c, std::int64_t c_stride, std::int64_t rest, bool add) {
    std::int64_t i = 0;
    for (; i + kBlockRows <= rows; i += kBlockRows) {
        product_block<T, kBlockRows, Vectors, Partial>(a + i * row_step, row_step, term_step, b, b_stride, terms,
                                                       c + i * c_stride, c_stride, rest, add);
    }
    for (; i < rows; ++i) {
        product_block<T, 1, Vectors, Partial>(a + i * row_step, row_step, term_step, b, b_stride, terms,
                                              c + i * c_stride, c_stride, rest, add);
    }
}

// c[i][j] = sum over k of a(i, k) b[k][j], added to what is there if `add`, for rows x columns results and `terms`
// terms; rows of b, which may be stored as bfloat16, and c are contiguous.
template <typename T, typename B>
void product(const T* a, std::int64_t row_step, std::int64_t term_step, std::int64_t rows, const B* b,
             std::int64_t b_stride, std::int64_t terms, T* c, std::int64_t c_stride, std::int64_t columns, bool add) {
    constexpr std::int64_t W = lanes<T>();
    for (std::int64_t i = 0; terms == 0 && !add && i < rows; ++i) std::fill_n(c + i * c_stride, columns, T(0));
    for (std::int64_t k = 0; k < terms; k += kTile, add = true) {
        const std::int64_t count = std::min(kTile, terms - k);
        const T* ak = a + k * term_step;
        const B* bk = b + k * b_stride;
        std::int64_t j = 0;
        for (; j + kBlockVectors * W <= columns; j += kBlockVectors * W) {
            product_rows<T, kBlockVectors, false>(ak, row_step, term_step, rows, bk + j, b_stride, count, c + j,
                                                  c_stride, 0, add);
        }
        for (; j + W <= columns; j += W) {
            product_rows<T, 1, false>(ak, row_step, term_step, rows, bk + j, b_stride, count, c + j, c_stride, 0, add);
        }
        if (j < columns) {
            product_rows<T, 1, true>(ak, row_step, term_step, rows, bk + j, b_stride, count, c + j, c_stride,
                                     columns - j, add);
        }
    }
}

template <typename T, int Rows, int Columns, typename B>
void dots_block(const T* a, std::int64_t a_stride, const B* b, std::int64_t b_stride, std::int64_t terms, T scale, T* c,
                std::int64_t c_stride) {
    constexpr std::int64_t W = lanes<T>();
    Vec<T> total[Rows][Columns] = {};
    std::int64_t k = 0;
    for (; k + W <= terms; k += W) {
        Vec<T> column[Columns];
        for (int j = 0; j < Columns; ++j) column[j] = load(b + j * b_stride + k);
        for (int i = 0; i < Rows; ++i) {
            const Vec<T> row = load(a + i * a_stride + k);
            for (int j = 0; j < Columns; ++j) total[i][j] += row * column[j];
        }
    }
    if (k < terms) {
        for (int i = 0; i < Rows; ++i) {
            const Vec<T> row = load_first(a + i * a_stride + k, terms - k);
            for (int j = 0; j < Columns; ++j) total[i][j] += row * load_first(b + j * b_stride + k, terms - k);
        }
    }
    for (int i = 0; i < Rows; ++i) {
        for (int j = 0; j < Columns; ++j) c[i * c_stride + j] = scale * sum<T>(total[i][j]);
    }
}

template <typename T, int Columns, typename B>
void dots_rows(const T* a, std::int64_t a_stride, std::int64_t rows, const B* b, std::int64_t b_stride,
               std::int64_t terms, T scale, T* c, std::int64_t c_stride) {
    std::int64_t i = 0;
    for (; i + kBlockRows <= rows; i += kBlockRows) {
        dots_block<T, kBlockRows, Columns>(a + i * a_stride, a_stride, b, b_stride, terms, scale, c + i * c_stride,
                                           c_stride);
    }
    for (; i < rows; ++i) {
        dots_block<T, 1, Columns>(a + i * a_stride, a_stride, b, b_stride, terms, scale, c + i * c_stride, c_stride);
    }
}

// c[i][j] = scale * (a[i] . b[j]), for rows of `terms` elements.
template <typename T, typename B>
void dots(const T* a, std::int64_t a_stride, std::int64_t rows, const B* b, std::int64_t b_stride, std::int64_t columns,
          std::int64_t terms, T scale, T* c, std::int64_t c_stride) {
    std::int64_t j = 0;
    for (; j + kBlockVectors <= columns; j += kBlockVectors) {
        dots_rows<T, kBlockVectors>(a, a_stride, rows, b + j * b_stride, b_stride, terms, scale, c + j, c_stride);
    }
    for (; j < columns; ++j) {
        dots_rows<T, 1>(a, a_stride, rows, b + j * b_stride, b_stride, terms, scale, c + j, c_stride);
    }
}

}  // namespace M2T_ISA
}  // namespace m2t
