// Vectors of float or double in the width of the instruction set being compiled for, with exp and tanh on them.
//
// Written with the vector extension of GCC and Clang: +, *, comparisons and ?: work lane by lane on every target, be it
// AVX-512, AVX2, SSE2 or NEON. Another compiler gets vectors of one lane. See common/isa.h for M2T_ISA.
#pragma once

#include "common/bfloat16.h"
#include "common/isa.h"

namespace m2t {
namespace M2T_ISA {

template <typename T>
struct Lanes;

#if defined(__GNUC__)
template <>
struct Lanes<float> {
    typedef float V __attribute__((vector_size(M2T_VECTOR_BYTES)));
    typedef std::int32_t I __attribute__((vector_size(M2T_VECTOR_BYTES)));
    typedef std::uint32_t U __attribute__((vector_size(M2T_VECTOR_BYTES)));
};
template <>
struct Lanes<double> {
    typedef double V __attribute__((vector_size(M2T_VECTOR_BYTES)));
    typedef std::int64_t I __attribute__((vector_size(M2T_VECTOR_BYTES)));
    typedef std::uint64_t U __attribute__((vector_size(M2T_VECTOR_BYTES)));
};
#else
template <>
struct Lanes<float> {
    using V = float;
    using I = std::int32_t;
    using U = std::uint32_t;
};
template <>
struct Lanes<double> {
    using V = double;
    using I = std::int64_t;
    using U = std::uint64_t;
};
#endif

template <typename T>
using Vec = typename Lanes<T>::V;
template <typename T>
using Bits = typename Lanes<T>::I;
// For sums that may leave the range, where what comes of it is thrown away.
template <typename T>
using UnsignedBits = typename Lanes<T>::U;

template <typename T>
constexpr std::int64_t lanes() {
    return static_cast<std::int64_t>(sizeof(Vec<T>) / sizeof(T));
}

// The smallest multiple of the vector width that holds n elements.
template <typename T>
constexpr std::int64_t padded(std::int64_t n) {
    return (n + lanes<T>() - 1) / lanes<T>() * lanes<T>();
}

// x in every lane. (x - 0 is x for every x, so compilers leave it out; 0 + x, which turns -0 into 0, they compute.)
template <typename T>
Vec<T> all(T x) {
    return x - Vec<T>{};
}

template <typename T>
Vec<T> load(const T* p) {
    Vec<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <typename T>
void store(T* p, Vec<T> v) {
    std::memcpy(p, &v, sizeof v);
}

// The first n <= lanes elements at p, zeros behind them; nothing past p[n - 1] is read.
template <typename T>
Vec<T> load_first(const T* p, std::int64_t n) {
    if (n == lanes<T>()) return load(p);
    T values[lanes<T>()] = {};
    for (std::int64_t i = 0; i < n; ++i) values[i] = p[i];
    return load(values);
}

// Writes the first n <= lanes elements.
template <typename T>
void store_first(T* p, Vec<T> v, std::int64_t n) {
    if (n == lanes<T>()) return store(p, v);
    T values[lanes<T>()];
    store(values, v);
    for (std::int64_t i = 0; i < n; ++i) p[i] = values[i];
}

template <typename To, typename From>
To reinterpret(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// The same of numbers stored as bfloat16, which are computed with as floats.
#if defined(__GNUC__)
typedef std::uint16_t ShortBits __attribute__((vector_size(M2T_VECTOR_BYTES / 2)));
#else
using ShortBits = std::uint16_t;
#endif
inline Vec<float> widened(ShortBits bits) {
#if defined(__GNUC__)
    const UnsignedBits<float> wide = __builtin_convertvector(bits, UnsignedBits<float>) << 16;
#else
    const UnsignedBits<float> wide = static_cast<UnsignedBits<float>>(bits) << 16;
#endif
    return reinterpret<Vec<float>>(wide);
}
// Rounded to the nearest, halves to even; NaN stays NaN.
inline ShortBits shortened(Vec<float> v) {
#if defined(M2T_BFLOAT16)
    const __m256bh nearest = _mm512_cvtneps_pbh(reinterpret<__m512>(v));  // subnormal numbers become 0
    ShortBits short_bits;
    std::memcpy(&short_bits, &nearest, sizeof short_bits);
    return short_bits;
#else
    const auto bits = reinterpret<UnsignedBits<float>>(v);
    const UnsignedBits<float> rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const UnsignedBits<float> kept = v == v ? rounded : (bits >> 16 | 0x40u);
#if defined(__GNUC__)
    return __builtin_convertvector(kept, ShortBits);
#else
    return static_cast<ShortBits>(kept);
#endif
#endif
}
inline Vec<float> load(const BFloat16* p) {
    ShortBits bits;
    std::memcpy(&bits, p, sizeof bits);
    return widened(bits);
}
inline void store(BFloat16* p, Vec<float> v) {
    const ShortBits bits = shortened(v);
    std::memcpy(p, &bits, sizeof bits);
}
inline Vec<float> load_first(const BFloat16* p, std::int64_t n) {
    if (n == lanes<float>()) return load(p);
    ShortBits bits = {};
    std::memcpy(&bits, p, static_cast<std::size_t>(n) * sizeof(BFloat16));
    return widened(bits);
}
inline void store_first(BFloat16* p, Vec<float> v, std::int64_t n) {
    if (n == lanes<float>()) return store(p, v);
    const ShortBits bits = shortened(v);
    std::memcpy(p, &bits, static_cast<std::size_t>(n) * sizeof(BFloat16));
}

// n floats as bfloat16.
inline void shorten(const float* from, std::int64_t n, BFloat16* to) {
    constexpr std::int64_t W = lanes<float>();
    std::int64_t i = 0;
    for (; i + W <= n; i += W) store(to + i, load(from + i));
    if (i < n) store_first(to + i, load_first(from + i, n - i), n - i);
}

// The vector, in a register: GCC moves a vector that it sees taken to pieces to memory, where a loop that adds to it
// then finds it, at three times the cost.
template <typename V>
V in_register(V v) {
#if M2T_X86_VARIANTS && M2T_VECTOR_BYTES == 64
    __asm__("" : "+v"(v));
#elif M2T_X86_VARIANTS
    __asm__("" : "+x"(v));
#endif
    return v;
}

#if defined(__GNUC__)
// Sum of the elements of a vector of Bytes bytes: halves are added until one element is left.
template <typename T, int Bytes>
struct Sum {
    typedef T V __attribute__((vector_size(Bytes)));
    typedef T Half __attribute__((vector_size(Bytes / 2)));
    static T of(V v) {
        Half low, high;
        std::memcpy(&low, &v, sizeof low);
        std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
        return Sum<T, Bytes / 2>::of(low + high);
    }
};
template <typename T>
struct Sum<T, sizeof(T)> {
    typedef T V __attribute__((vector_size(sizeof(T))));
    static T of(V v) { return v[0]; }
};
template <typename T>
T sum(Vec<T> v) {
    return Sum<T, M2T_VECTOR_BYTES>::of(in_register(v));
}
// The same in double, whose last additions round away nothing that float held.
inline double sum_in_double(Vec<float> v) {
    using Half = Sum<float, M2T_VECTOR_BYTES>::Half;
    using Double = Lanes<double>::V;
    v = in_register(v);
    Half low, high;
    std::memcpy(&low, &v, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return sum<double>(__builtin_convertvector(low, Double) + __builtin_convertvector(high, Double));
}
#else
template <typename T>
T sum(Vec<T> v) {
    return v;
}
inline double sum_in_double(Vec<float> v) { return v; }
#endif
inline double sum_in_double(Vec<double> v) { return sum<double>(v); }

// Smaller of x and the limit; NaN stays NaN.
template <typename T>
Vec<T> at_most(Vec<T> x, T limit) {
    const Vec<T> l = all(limit);
    return l < x ? l : x;
}
#if M2T_X86_VARIANTS && M2T_VECTOR_BYTES == 64
// One instruction, where compilers take ?: through a mask register. (Masked, with a full mask, because GCC 12 warns of
// an uninitialised value in the plain one.)
inline Vec<float> at_most(Vec<float> x, float limit) {
    return reinterpret<Vec<float>>(_mm512_maskz_min_ps(0xffff, _mm512_set1_ps(limit), reinterpret<__m512>(x)));
}
inline Vec<double> at_most(Vec<double> x, double limit) {
    return reinterpret<Vec<double>>(_mm512_maskz_min_pd(0xff, _mm512_set1_pd(limit), reinterpret<__m512d>(x)));
}
#endif

// x = n ln 2 + r with n whole and |r| <= ln 2 / 2; returns r and sets power to 2^n. For |x| < 700 (double), 87 (float).
inline Vec<float> reduce(Vec<float> x, Vec<float>& power) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, held in the low mantissa bits
    const Vec<float> shifted = x * 1.44269504f + magic;
    const Vec<float> n = shifted - magic;
    power = reinterpret<Vec<float>>((reinterpret<UnsignedBits<float>>(shifted) << 23) + 0x3f800000u);
    return (x - n * 0.693145752f) - n * 1.42860677e-6f;  // ln 2 in two numbers; the first product is exact
}

inline Vec<double> reduce(Vec<double> x, Vec<double>& power) {
    const double magic = 6755399441055744.0;  // 1.5 * 2^52
    const Vec<double> shifted = x * 1.4426950408889634 + magic;
    const Vec<double> n = shifted - magic;
    power = reinterpret<Vec<double>>((reinterpret<UnsignedBits<double>>(shifted) << 52) + 0x3ff0000000000000u);
    return (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
}

// exp(r) - 1 for |r| <= ln 2 / 2: its Taylor polynomial, whose next term is below the last bit.
inline Vec<float> expm1_small(Vec<float> r) {
    Vec<float> q = r * (1.0f / 5040) + 1.0f / 720;
    q = q * r + 1.0f / 120;
    q = q * r + 1.0f / 24;
    q = q * r + 1.0f / 6;
    q = q * r + 0.5f;
    return r + r * r * q;
}

inline Vec<double> expm1_small(Vec<double> r) {
    Vec<double> q = r * (1.0 / 6227020800) + 1.0 / 479001600;
    q = q * r + 1.0 / 39916800;
    q = q * r + 1.0 / 3628800;
    q = q * r + 1.0 / 362880;
    q = q * r + 1.0 / 40320;
    q = q * r + 1.0 / 5040;
    q = q * r + 1.0 / 720;
    q = q * r + 1.0 / 120;
    q = q * r + 1.0 / 24;
    q = q * r + 1.0 / 6;
    q = q * r + 0.5;
    return r + r * r * q;
}

// exp(x) for x <= 0 (softmax, Gaussian). Results below the smallest normal number are 0; NaN stays NaN.
template <typename T>
Vec<T> exp_nonpositive(Vec<T> x) {
    const Vec<T> lowest = all<T>(sizeof(T) == 4 ? T(-87) : T(-708));
    Vec<T> power;
    const Vec<T> p = expm1_small(reduce(x, power));
    const Vec<T> y = power + power * p;
    return x < lowest ? Vec<T>{} : y;
}

// exp(2x) for |x| < 43 (float), 350 (double); NaN stays NaN.
template <typename V>
V exp_of_twice(V x) {
    V power;
    const V p = expm1_small(reduce(x + x, power));
    return power + power * p;
}

// a / b.
template <typename V>
V quotient(V a, V b) {
    return a / b;
}
#if M2T_X86_VARIANTS && M2T_VECTOR_BYTES == 64
// A division takes longer than the processor's estimate of 1 / b (14 bits) with one step of correction, which rounds as
// well. b and 1 / b must be normal numbers.
inline Vec<float> quotient(Vec<float> a, Vec<float> b) {
    const Vec<float> estimate = reinterpret<Vec<float>>(_mm512_maskz_rcp14_ps(0xffff, reinterpret<__m512>(b)));
    const Vec<float> first = a * estimate;
    return first + (a - b * first) * estimate;
}
#endif

// 1 / x for normal x > 0, within two units of the last place; NaN stays NaN.
template <typename T>
Vec<T> reciprocal(Vec<T> x) {
    return all(T(1)) / x;
}
#if M2T_X86_VARIANTS && M2T_VECTOR_BYTES == 64
template <>
inline Vec<float> reciprocal<float>(Vec<float> x) {
    // An approximation to 14 bits and one Newton step: a third of the time of a division.
    const Vec<float> r = reinterpret<Vec<float>>(_mm512_maskz_rcp14_ps(0xffff, reinterpret<__m512>(x)));
    return r * (2.0f - x * r);
}
#endif

// 1 / x to the 11 bits or more that a result in bfloat16 leaves to be seen. x and 1 / x must be normal numbers.
inline Vec<float> rough_reciprocal(Vec<float> x) {
#if M2T_X86_VARIANTS && M2T_VECTOR_BYTES == 64
    return reinterpret<Vec<float>>(_mm512_maskz_rcp14_ps(0xffff, reinterpret<__m512>(x)));
#else
    return all(1.0f) / x;
#endif
}

// tanh = e / (e + 2) with e = exp(2|x|) - 1: odd, within [-1, 1], relative error a few roundings down to x = 0 and
// almost none where it saturates, so that 1 - tanh^2 is as good as tanh; NaN stays NaN.
//
// float: 2|x| = n ln 2 + 2r, (exp(2r) - 1) / 2 = r + r^2 q(r) with the minimax q of degree 4, relative error 1.3e-8.
// A rational function of x takes four fifths of the time, but errs by 5 units in the last place where it saturates.
inline Vec<float> tanh(Vec<float> x) {
    const Bits<float> sign = reinterpret<Bits<float>>(x) & std::numeric_limits<std::int32_t>::min();
    // From 9.2 on tanh rounds to 1.
    const Vec<float> a = at_most(reinterpret<Vec<float>>(reinterpret<Bits<float>>(x) ^ sign), 9.2f);
    const float magic = 12582912.0f;  // as in `reduce`
    const Vec<float> shifted = a * 2.88539008f + magic;
    const UnsignedBits<float> exponent = reinterpret<UnsignedBits<float>>(shifted) << 23;
    const Vec<float> twice_power = reinterpret<Vec<float>>(exponent + 0x40000000u);
    const Vec<float> r = a - (shifted - magic) * 0.34657359f;
    Vec<float> q = r * 0.0444240046501f + 0.133866347567f;
    q = q * r + 0.333337630904f;
    q = q * r + 0.666661707403f;
    q = q * r + 0.999999962661f;
    const Vec<float> e = (r + r * r * q) * twice_power + (twice_power * 0.5f - 1.0f);
    return reinterpret<Vec<float>>(reinterpret<Bits<float>>(e / (e + 2.0f)) | sign);
}

// tanh for a result in bfloat16: relative error 2^-12, and within [-1, 1] when rounded.
inline Vec<float> rough_tanh(Vec<float> x) {
    const Bits<float> sign = reinterpret<Bits<float>>(x) & std::numeric_limits<std::int32_t>::min();
    const Vec<float> a = at_most(reinterpret<Vec<float>>(reinterpret<Bits<float>>(x) ^ sign), 9.2f);
    const float magic = 12582912.0f;
    const Vec<float> shifted = a * 2.88539008f + magic;
    const Vec<float> twice_power =
        reinterpret<Vec<float>>((reinterpret<UnsignedBits<float>>(shifted) << 23) + 0x40000000u);
    const Vec<float> r = a - (shifted - magic) * 0.34657359f;
    Vec<float> q = r * 0.333337630904f + 0.666661707403f;
    q = q * r + 0.999999962661f;
    const Vec<float> e = (r + r * r * q) * twice_power + (twice_power * 0.5f - 1.0f);
    return reinterpret<Vec<float>>(reinterpret<Bits<float>>(e * rough_reciprocal(e + 2.0f)) | sign);
}

inline Vec<double> tanh(Vec<double> x) {
    const Bits<double> sign = reinterpret<Bits<double>>(x) & std::numeric_limits<std::int64_t>::min();
    const Vec<double> a = at_most(reinterpret<Vec<double>>(reinterpret<Bits<double>>(x) ^ sign), 22.0);
    Vec<double> power;
    const Vec<double> p = expm1_small(reduce(a + a, power));
    const Vec<double> e = power * p + (power - 1.0);
    return reinterpret<Vec<double>>(reinterpret<Bits<double>>(e / (e + 2.0)) | sign);
}

}  // namespace M2T_ISA
}  // namespace m2t
