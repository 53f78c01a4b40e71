// What the extension was compiled with and what the processor it runs on can do.
#pragma once

#include <string>
#include <vector>

namespace m2t {

// Name and version of the compiler, e.g. "gcc 12.2.0".
std::string compiler_version();

// Whether the loops of parallel.h run on several threads.
bool built_with_openmp();

// Instruction sets of the running processor (not of the one that compiled this), e.g. {"avx2", "fma"}; may be empty.
std::vector<std::string> cpu_features();

}  // namespace m2t
