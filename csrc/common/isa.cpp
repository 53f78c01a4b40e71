// Asks the running processor which copies of the kernels it can execute.
#include "common/isa.h"

namespace m2t {

InstructionSet best_instruction_set() {
#if M2T_X86_VARIANTS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
        return wide ? InstructionSet::avx512 : InstructionSet::avx2;
    }
#endif
    return InstructionSet::baseline;
}

}  // namespace m2t
