// The products of a layer, for the rows of a team: float32 by multiplications and additions, bfloat16 on the matrix
// units.
#pragma once

#include "cuda/decode_layers.h"

namespace m2t::cuda {

// Keeps four terms of a row of a layer's input in shared memory as the products read them, from term k on: in float32
// (rows, kTerms).
M2T_DEVICE void keep_input(float* input, int row, int k, const Vec4& x) { store_vec4(input + row * kTerms + k, x); }

// For the matrix units: by 16 terms, and in them by eight rows, the registers of the 32 lanes. Lane (g, t) has terms 4t
// to 4t + 3 of row g, each as the sum of two bfloat16, which is right to 16 bits: two pairs of the upper parts, two of
// the lower. The upper part is cut off, not rounded, so that the largest float32 do not become infinite.
struct InputUnit {
    Bits4 lane[kRows / kTileRows][32];
};

static_assert(sizeof(InputUnit) * kTerms == sizeof(float) * kRows * kTerms * kUnitTerms, "as much as in float32");

M2T_DEVICE void keep_input(InputUnit* input, int row, int k, const Vec4& x) {
    unsigned upper[4], lower[4];
    M2T_UNROLL
    for (int c = 0; c < 4; ++c) {
        upper[c] = bits_of(x.x[c]) & 0xffff0000u;
        const float rest = x.x[c] - float_of(upper[c]);
        const bool infinite = fabsf(x.x[c]) == INFINITY;  // and the rest is NaN
        lower[c] = infinite ? 0u : bits_of(to_float(from_float<bfloat16>(rest)));
    }
    Bits4& to = input[k / kUnitTerms].lane[row / kTileRows][row % kTileRows * 4 + k % kUnitTerms / 4];
    to = {{upper[0] >> 16 | upper[1], upper[2] >> 16 | upper[3], lower[0] >> 16 | lower[1], lower[2] >> 16 | lower[3]}};
}

// Keeps terms from `term` on of `count` rows from entry i on. What is beyond them stays as it is: nobody reads the
// sums.
template <typename Input, typename T>
M2T_DEVICE void stage_input(const Team<T>& t, const LayerInput<T>& in, int i, int count, int term, int width) {
    constexpr int ahead = PackOrder<T>::kMatrix ? 4 : 1;  // loads on their way together: sums need the registers
    auto* input = reinterpret_cast<Input*>(t.shared().input);
    const int beside = count > 4 ? 8 : count > 2 ? 4 : count;  // rows at a time, each by one or more warps
    const int step = 4 * 32 * (kDecodeWarps / beside);
    for (int r = t.warp() % beside; r < count; r += beside) {
        for (int first = 4 * (t.warp() / beside * 32 + t.lane()); first < width; first += ahead * step) {
            Vec4 x[ahead];
            M2T_UNROLL
            for (int j = 0; j < ahead; ++j) {
                const int k = first + j * step;
                x[j] = k < width ? input_values(t, in, i + r, term + k) : Vec4{};
            }
            M2T_UNROLL
            for (int j = 0; j < ahead; ++j) {
                const int k = first + j * step;
                if (k < width) keep_input(input, r, k, x[j]);
            }
        }
    }
}

// What a block makes of a layer: chunk `chunk` of kColumns columns and every size()-th after it, for entries [first,
// last) of the list. Where a team has more blocks than a layer has chunks, several make the same one, for eight rows
// each. Blocks that have none of `top` begin with those of the queries.
struct LayerShare {
    int chunk, first, last;
};

template <typename T>
M2T_DEVICE LayerShare share_of(const Team<T>& t, int layer) {
    const int chunks = t.d.layer[layer].columns / kColumns;
    const int taken = layer == kQuery ? t.d.layer[kTop].columns / kColumns % t.size() : 0;
    const int rank = (t.rank() + t.size() - taken) % t.size();
    const int shares = chunks < t.size() ? t.size() / chunks : 1;
    if (shares == 1) return {rank, 0, t.count()};
    const int each = (t.count() + shares - 1) / shares, rows = (each + kTileRows - 1) / kTileRows * kTileRows;
    const int first = rank / chunks * rows, last = first + rows < t.count() ? first + rows : t.count();
    return {rank % chunks, first, last};
}

// How many entries of the share there are from entry i on, at most Rows.
template <int Rows, typename T>
M2T_DEVICE int rows_left(const Team<T>& t, int layer, int i) {
    const int left = share_of(t, layer).last - i;
    return left < Rows ? left : Rows;
}

// sums[r] += input[r][k] * weight[k] for Groups times four terms, which are fetched together, of four columns.
template <int Groups, typename T, int Rows>
M2T_DEVICE void add_terms(const T* weight, int columns, const float* input, Vec4 (&sums)[Rows]) {
    Vec4 w[4 * Groups];
    M2T_UNROLL
    for (int u = 0; u < 4 * Groups; ++u) w[u] = load_vec4(weight + static_cast<std::int64_t>(u) * columns);
    M2T_UNROLL
    for (int r = 0; r < Rows; ++r) {
        M2T_UNROLL
        for (int v = 0; v < Groups; ++v) {
            const Vec4 x = load_vec4(input + r * kTerms + 4 * v);
            M2T_UNROLL
            for (int u = 0; u < 4; ++u) {
                M2T_UNROLL
                for (int c = 0; c < 4; ++c) sums[r].x[c] = fmaf(x.x[u], w[4 * v + u].x[c], sums[r].x[c]);
            }
        }
    }
}

// The same for terms [first, last), multiples of 4.
template <typename T, int Rows>
M2T_DEVICE void accumulate(const T* weight, int columns, const float* input, int first, int last, Vec4 (&sums)[Rows]) {
    constexpr int ahead = Rows <= 2 ? 4 : Rows <= 8 ? 2 : 1;
    weight += static_cast<std::int64_t>(first) * columns;
    int k = first;
    for (; k + 4 * ahead <= last; k += 4 * ahead) {
        add_terms<ahead>(weight, columns, input + k, sums);
        weight += static_cast<std::int64_t>(4 * ahead) * columns;
    }
    for (; k < last; k += 4) {
        add_terms<1>(weight, columns, input + k, sums);
        weight += static_cast<std::int64_t>(4) * columns;
    }
}

// The layer in float32, for up to Rows rows from entry i on. Every warp sums over an eighth of the terms, then the
// eighths are added in order: how many blocks a team has does not change a bit. The sums leave no register for what can
// be made again.
template <typename T, int Rows>
M2T_DEVICE void run_rows(const Team<T>& t, int layer, int i) {
    const PackedLayer<T> p = t.d.layer[layer];
    bool staged = false;
    float* sums = t.shared().sums;
    for (int chunk = share_of(t, layer).chunk; chunk < p.columns / kColumns; chunk += t.size()) {
        const int column = chunk * kColumns + 4 * t.lane();
        Vec4 acc[Rows] = {};
        for (int term = 0; term < p.terms; term += kTerms) {
            const int width = p.terms - term < kTerms ? p.terms - term : kTerms;
            if (!staged || p.terms > kTerms) {
                staged = true;
                __syncthreads();
                stage_input<float>(team_of(t.d), input_of(t, fresh(layer)), fresh(i),
                                   rows_left<Rows>(team_of(t.d), fresh(layer), fresh(i)), term, width);
                __syncthreads();
            }
            const int eighth = 4 * ((width / 4 + kDecodeWarps - 1) / kDecodeWarps);
            const int first = t.warp() * eighth, last = first + eighth < width ? first + eighth : width;
            const T* weight = p.weight + static_cast<std::int64_t>(term) * p.columns + column;
            accumulate<T, Rows>(weight, p.columns, t.shared().input, first, last, acc);
        }
        M2T_UNROLL
        for (int part = 0; part < Rows; part += kReducedRows) {
            __syncthreads();
            M2T_UNROLL
            for (int r = 0; r < kReducedRows; ++r) {
                if (part + r < Rows) {
                    store_vec4(sums + (t.warp() * kReducedRows + r) * kColumns + 4 * t.lane(), acc[part + r]);
                }
            }
            __syncthreads();
            const int r = part + t.warp();
            if (t.warp() < kReducedRows && r < rows_left<Rows>(team_of(t.d), fresh(layer), fresh(i))) {
                Vec4 total = load_vec4(sums + t.warp() * kColumns + 4 * t.lane());
                M2T_UNROLL
                for (int other = 1; other < kDecodeWarps; ++other) {
                    const Vec4 x = load_vec4(sums + (other * kReducedRows + t.warp()) * kColumns + 4 * t.lane());
                    M2T_UNROLL
                    for (int c = 0; c < 4; ++c) total.x[c] += x.x[c];
                }
                end_layer(team_of(t.d), fresh(layer), fresh(i) + r, column, total);
            }
        }
    }
}

// Sums of the products of 16 columns with Tiles times eight rows, apart for the upper and the lower parts of the input,
// so that no product waits for the one before.
template <int Tiles>
struct TileSums {
    float parts[2][Tiles][4] = {};

    // Adds Units units of terms, whose weights are on their way together.
    template <int Units>
    M2T_DEVICE void add(const Bits4* weight, const InputUnit* input, int lane) {
        Bits4 w[Units];
        M2T_UNROLL
        for (int u = 0; u < Units; ++u) w[u] = load_bits4(weight + u * 32 + lane);
        M2T_UNROLL
        for (int u = 0; u < Units; ++u) {
            M2T_UNROLL
            for (int tile = 0; tile < Tiles; ++tile) {
                const Bits4 x = load_bits4(&input[u].lane[tile][lane]);
                M2T_UNROLL
                for (int part = 0; part < 2; ++part) {
                    const unsigned pairs[2] = {x.x[2 * part], x.x[2 * part + 1]};
                    add_bfloat16_product(w[u].x, pairs, parts[part][tile]);
                }
            }
        }
    }

    M2T_DEVICE void add_all(const Bits4* weight, const InputUnit* input, int units, int lane) {
        constexpr int many = 8;
        int unit = 0;
        for (; unit + many <= units; unit += many) add<many>(weight + unit * 32, input + unit, lane);
        for (; unit < units; ++unit) add<1>(weight + unit * 32, input + unit, lane);
    }

    M2T_DEVICE float sum(int tile, int j) const { return parts[0][tile][j] + parts[1][tile][j]; }
};

// The layer in bfloat16, for up to Tiles times eight rows from entry i on. A warp makes 16 columns, alone.
template <typename T, int Tiles>
M2T_DEVICE void run_tiles(const Team<T>& t, int layer, int i) {
    static_assert(kColumns == 16 * kDecodeWarps && Tiles * kTileRows <= kRows, "16 columns a warp");
    constexpr int across = kColumns + 4;  // of a row of sums, so that the rows of a store come from all banks
    static_assert(kRows * across <= kDecodeWarps * kReducedRows * kColumns, "the sums have room");
    const PackedLayer<T> p = t.d.layer[layer];
    const int count = rows_left<Tiles * kTileRows>(t, layer, i);
    float* all = t.shared().sums;
    bool staged = false;
    for (int chunk = share_of(t, layer).chunk; chunk < p.columns / kColumns; chunk += t.size()) {
        const auto* weight = reinterpret_cast<const Bits4*>(p.weight);
        weight += static_cast<std::int64_t>(chunk * kDecodeWarps + t.warp()) * (p.terms / kUnitTerms) * 32;
        TileSums<Tiles> sums;
        for (int term = 0; term < p.terms; term += kTerms) {
            const int width = p.terms - term < kTerms ? p.terms - term : kTerms;
            if (!staged || p.terms > kTerms) {
                staged = true;
                __syncthreads();
                stage_input<InputUnit>(team_of(t.d), input_of(t, fresh(layer)), fresh(i), count, term, width);
                __syncthreads();
            }
            const auto* input = reinterpret_cast<const InputUnit*>(t.shared().input);
            sums.add_all(weight + term / kUnitTerms * 32, input, width / kUnitTerms, t.lane());
        }
        __syncthreads();  // the last chunk's sums were read
        M2T_UNROLL
        for (int tile = 0; tile < Tiles; ++tile) {
            M2T_UNROLL
            for (int j = 0; j < 4; ++j) {  // lane (g, t) has columns g and g + 8 of rows 2t and 2t + 1
                const int row = tile * kTileRows + t.lane() % 4 * 2 + j % 2;
                all[row * across + t.warp() * 16 + j / 2 * 8 + t.lane() / 4] = sums.sum(tile, j);
            }
        }
        __syncthreads();
        M2T_UNROLL
        for (int tile = 0; tile < Tiles; ++tile) {
            const int r = tile * kTileRows + t.warp(), column = chunk * kColumns + 4 * t.lane();
            if (r >= count) continue;
            const Vec4 total = load_vec4(all + r * across + 4 * t.lane());
            end_layer(team_of(t.d), fresh(layer), fresh(i) + r, column, total);
        }
    }
}

template <typename T>
M2T_DEVICE void run_layer(const Team<T>& t, int layer) {
    const LayerShare share = share_of(t, layer);
    for (int i = share.first; i < share.last;) {
        const int left = share.last - i;
        if constexpr (PackOrder<T>::kMatrix) {
            if (left > kTileRows) {
                run_tiles<T, 2>(team_of(t.d), fresh(layer), fresh(i));
                i += 2 * kTileRows;
            } else {
                run_tiles<T, 1>(team_of(t.d), fresh(layer), fresh(i));
                i += kTileRows;
            }
        } else if (left > kRows / 2) {
            run_rows<T, kRows>(team_of(t.d), fresh(layer), fresh(i));
            i += kRows;
        } else if (left > 2) {
            run_rows<T, kRows / 2>(team_of(t.d), fresh(layer), fresh(i));
            i += kRows / 2;
        } else {
            run_rows<T, 2>(team_of(t.d), fresh(layer), fresh(i));
            i += 2;
        }
    }
}

}  // namespace m2t::cuda
