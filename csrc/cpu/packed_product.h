// Products of a few rows with a large weight matrix that was rearranged once and is used many times.
//
// A decoder multiplies some ten rows with the same 15 MB of weights at every word. The weights are laid out in panels,
// in the order in which they are read. Every element of a result is summed in one fixed order, whatever the number of
// rows, so a motion's caption does not depend on its batch mates. Included by kernels: see isa.h.
#pragma once

#include "common/vector_math.h"

namespace m2t {
namespace M2T_ISA {

// Rows and vectors of a block of the result: 6 * 4 of 32 registers with AVX-512, else 6 * 2 of 16.
constexpr int kPanelRows = 6;
constexpr int kPanelVectors = M2T_VECTOR_BYTES == 64 ? 4 : 2;
// Terms that are summed before they are added to the result: they fit in the first cache with AVX-512 (32 KiB), and
// short sums bound the rounding error of long ones.
constexpr std::int64_t kPanelTerms = 128;

template <typename T>
constexpr std::int64_t panel_width() {
    return kPanelVectors * lanes<T>();
}

template <typename T>
std::int64_t panels(std::int64_t columns) {
    return (columns + panel_width<T>() - 1) / panel_width<T>();
}

// One panel of a weight (columns, terms): (terms, panel width), zeros beyond the last column.
template <typename T>
void pack_panel(const T* weight, std::int64_t columns, std::int64_t terms, std::int64_t panel, T* packed) {
    constexpr std::int64_t width = panel_width<T>();
    constexpr std::int64_t some = 16;  // terms of a column that are read together
    const std::int64_t first = panel * width;
    T* to = packed + first * terms;
    for (std::int64_t k = 0; k < terms; k += some) {
        const std::int64_t last = std::min(k + some, terms);
        for (std::int64_t j = 0; j < width; ++j) {
            const bool inside = first + j < columns;
            for (std::int64_t i = k; i < last; ++i) {
                to[i * width + j] = inside ? weight[(first + j) * terms + i] : T(0);
            }
        }
    }
}

// Asks for the cache line at p, which is about to be read from memory.
inline void prefetch(const void* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 0, 2);
#else
    static_cast<void>(p);
#endif
}

// c (Rows, columns) = a (Rows, terms) times one tile of a panel, added to what is there if `add`. Meanwhile it asks for
// `terms` cache lines at `ahead`.
template <typename T, int Rows>
void panel_block(const T* a, std::int64_t a_stride, const T* tile, std::int64_t terms, T* c, std::int64_t c_stride,
                 std::int64_t columns, bool add, const char* ahead) {
    constexpr std::int64_t W = lanes<T>();
    Vec<T> total[Rows][kPanelVectors] = {};
    for (std::int64_t k = 0; k < terms; ++k) {
        prefetch(ahead + 64 * k);
        Vec<T> row[kPanelVectors];
        for (int v = 0; v < kPanelVectors; ++v) row[v] = load(tile + k * panel_width<T>() + v * W);
        for (int i = 0; i < Rows; ++i) {
            const Vec<T> x = all(a[i * a_stride + k]);
            for (int v = 0; v < kPanelVectors; ++v) total[i][v] += x * row[v];
        }
    }
    for (int i = 0; i < Rows; ++i) {
        for (int v = 0; v < kPanelVectors; ++v) {
            const std::int64_t count = std::min(W, columns - v * W);
            if (count <= 0) break;
            T* p = c + i * c_stride + v * W;
            store_first(p, add ? load_first(p, count) + total[i][v] : total[i][v], count);
        }
    }
}

// c[i][j] = a[i] . weight[j] for a (rows, terms), a packed weight (columns, terms) and c (rows, columns); terms >= 1.
template <typename T>
void packed_product(const T* a, std::int64_t rows, const T* packed, std::int64_t terms, T* c, std::int64_t columns) {
    const std::int64_t blocks = (rows + kPanelRows - 1) / kPanelRows;
    for (std::int64_t column = 0; column < columns; column += panel_width<T>()) {
        const std::int64_t width = std::min(panel_width<T>(), columns - column);
        for (std::int64_t k = 0; k < terms; k += kPanelTerms) {  // a tile stays in the first cache for all rows
            const T* tile = packed + column * terms + k * panel_width<T>();
            const std::int64_t some = std::min(kPanelTerms, terms - k);
            for (std::int64_t block = 0; block < blocks; ++block) {
                const std::int64_t first = rows * block / blocks;  // blocks of nearly equal size
                const T* from = a + first * terms + k;
                T* to = c + first * columns + column;
                // The tile after this one, of which every block asks for a piece.
                const char* ahead = reinterpret_cast<const char*>(tile + some * panel_width<T>()) + 64 * some * block;
                switch (rows * (block + 1) / blocks - first) {
                    case 1: panel_block<T, 1>(from, terms, tile, some, to, columns, width, k > 0, ahead); break;
                    case 2: panel_block<T, 2>(from, terms, tile, some, to, columns, width, k > 0, ahead); break;
                    case 3: panel_block<T, 3>(from, terms, tile, some, to, columns, width, k > 0, ahead); break;
                    case 4: panel_block<T, 4>(from, terms, tile, some, to, columns, width, k > 0, ahead); break;
                    case 5: panel_block<T, 5>(from, terms, tile, some, to, columns, width, k > 0, ahead); break;
                    default: panel_block<T, 6>(from, terms, tile, some, to, columns, width, k > 0, ahead); break;
                }
            }
        }
    }
}

}  // namespace M2T_ISA
}  // namespace m2t
