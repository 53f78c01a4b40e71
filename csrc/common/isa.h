// Compiles a region of a source file for an instruction set that the processor is asked about at run time.
//
// Kernels are headers, included by one source file per instruction set:
//
//     #define M2T_ISA avx2                 // namespace of this copy
//     #define M2T_VECTOR_BYTES 32          // width of its vectors
//     #include "common/isa.h"              // and every header that is not a kernel
//     M2T_BEGIN_AVX2
//     #include "cpu/some_kernel.h"
//     M2T_END_TARGET
//
// so that no file needs compiler flags of its own. Other headers come before the region, the standard ones among them:
// their inline functions must not be compiled for an instruction set that the processor may lack and then be shared by
// the linker with code that runs everywhere.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#define M2T_PRAGMA(text) _Pragma(#text)

#if defined(__x86_64__) && defined(__clang__)
#define M2T_X86_VARIANTS 1
#define M2T_BEGIN_TARGET(features) \
    M2T_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define M2T_END_TARGET M2T_PRAGMA(clang attribute pop)
#elif defined(__x86_64__) && defined(__GNUC__)
#define M2T_X86_VARIANTS 1
#define M2T_BEGIN_TARGET(features) M2T_PRAGMA(GCC push_options) M2T_PRAGMA(GCC target(features))
#define M2T_END_TARGET M2T_PRAGMA(GCC pop_options)
#else
#define M2T_X86_VARIANTS 0
#endif

#define M2T_BEGIN_AVX2 M2T_BEGIN_TARGET("avx2,fma")
#define M2T_BEGIN_AVX512 M2T_BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")

namespace m2t {

// Copies of every kernel, slowest first. `best` stands for the fastest that the running processor has.
enum class InstructionSet : int { best = -1, baseline = 0, avx2 = 1, avx512 = 2 };

// The fastest copy that the running processor can execute.
InstructionSet best_instruction_set();

// Declares name<T>(), a table of kernels, in the namespace of every copy, and name<T>(isa), which chooses one: the one
// asked for, or the best where the processor lacks it.
#if M2T_X86_VARIANTS
#define M2T_DECLARE_KERNELS(Table, name)                             \
    namespace baseline {                                             \
    template <typename T>                                            \
    Table<T> name();                                                 \
    }                                                                \
    namespace avx2 {                                                 \
    template <typename T>                                            \
    Table<T> name();                                                 \
    }                                                                \
    namespace avx512 {                                               \
    template <typename T>                                            \
    Table<T> name();                                                 \
    }                                                                \
    template <typename T>                                            \
    Table<T> name(InstructionSet isa) {                              \
        const InstructionSet best = best_instruction_set();          \
        if (isa == InstructionSet::best || isa > best) isa = best;   \
        if (isa == InstructionSet::avx512) return avx512::name<T>(); \
        if (isa == InstructionSet::avx2) return avx2::name<T>();     \
        return baseline::name<T>();                                  \
    }
#else
#define M2T_DECLARE_KERNELS(Table, name) \
    namespace baseline {                 \
    template <typename T>                \
    Table<T> name();                     \
    }                                    \
    template <typename T>                \
    Table<T> name(InstructionSet) {      \
        return baseline::name<T>();      \
    }
#endif

}  // namespace m2t
