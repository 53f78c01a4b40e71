// Linear layers, encoder and decoding in bfloat16, compiled for AVX512_BF16, and whether the processor has it.
#define M2T_ISA avx512_bfloat16
#define M2T_VECTOR_BYTES 64
#include "common/isa.h"
#include "common/workspace.h"
#include "cpu/decode.h"
#include "cpu/encoder.h"
#include "cpu/linear.h"

#if M2T_X86_VARIANTS
#define M2T_BFLOAT16 1
M2T_BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include "cpu/decode_kernel.h"
#include "cpu/encoder_kernel.h"
#include "cpu/linear_kernel.h"
M2T_END_TARGET
#endif

namespace m2t {

bool has_bfloat16_products() {
#if M2T_X86_VARIANTS
    return best_instruction_set() == InstructionSet::avx512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

LinearKernels<BFloat16> bfloat16_linear_kernels() {
#if M2T_X86_VARIANTS
    return avx512_bfloat16::make_linear_kernels<BFloat16>();
#else
    return {};
#endif
}

EncoderKernels<BFloat16> bfloat16_encoder_kernels() {
#if M2T_X86_VARIANTS
    return avx512_bfloat16::make_encoder_kernels<BFloat16>();
#else
    return {};
#endif
}

DecodeKernels<BFloat16> bfloat16_decode_kernels() {
#if M2T_X86_VARIANTS
    return avx512_bfloat16::make_decode_kernels<BFloat16>();
#else
    return {};
#endif
}

}  // namespace m2t
