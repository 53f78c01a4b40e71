// Detects compiler, OpenMP and the running processor's instruction sets.
#include "common/build_info.h"

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#include <cpuid.h>
#endif

namespace m2t {

std::string compiler_version() {
#if defined(__clang__)
    return "clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__) + "." +
           std::to_string(__clang_patchlevel__);
#elif defined(__GNUC__)
    return std::string("gcc ") + __VERSION__;
#elif defined(_MSC_VER)
    return "msvc " + std::to_string(_MSC_VER);
#else
    return "unknown";
#endif
}

bool built_with_openmp() {
#if defined(_OPENMP)
    return true;
#else
    return false;
#endif
}

std::vector<std::string> cpu_features() {
    std::vector<std::string> found;
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
    __builtin_cpu_init();
    // The builtin takes literals only, hence a macro and not a loop over names.
#define M2T_ADD_IF_SUPPORTED(name) \
    if (__builtin_cpu_supports(name)) found.emplace_back(name)
    M2T_ADD_IF_SUPPORTED("sse4.2");
    M2T_ADD_IF_SUPPORTED("avx");
    M2T_ADD_IF_SUPPORTED("avx2");
    M2T_ADD_IF_SUPPORTED("fma");
    M2T_ADD_IF_SUPPORTED("avx512f");
    M2T_ADD_IF_SUPPORTED("avx512bw");
    M2T_ADD_IF_SUPPORTED("avx512vl");
    M2T_ADD_IF_SUPPORTED("avx512vnni");
    M2T_ADD_IF_SUPPORTED("avx512bf16");
#undef M2T_ADD_IF_SUPPORTED
    // Older compilers do not know the name of this one: leaf 7 tells it in bit 22 of EDX.
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1u) != 0) found.emplace_back("amxbf16");
#elif defined(__aarch64__) || defined(_M_ARM64)
    found.emplace_back("neon");  // part of the 64-bit Arm baseline, so there is nothing to ask
#endif
    return found;
}

}  // namespace m2t
