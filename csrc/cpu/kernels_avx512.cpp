// All kernels compiled for AVX-512 (F, BW, DQ, VL).
#define M2T_ISA avx512
#define M2T_VECTOR_BYTES 64
#include "common/isa.h"
#include "common/workspace.h"
#include "cpu/additive.h"
#include "cpu/attention.h"
#include "cpu/cross_entropy.h"
#include "cpu/decode.h"
#include "cpu/draws.h"
#include "cpu/encoder.h"
#include "cpu/gate.h"
#include "cpu/linear.h"
#include "cpu/rates.h"

#if M2T_X86_VARIANTS
M2T_BEGIN_AVX512
#include "cpu/additive_kernel.h"
#include "cpu/attention_kernel.h"
#include "cpu/cross_entropy_kernel.h"
#include "cpu/decode_kernel.h"
#include "cpu/draws_kernel.h"
#include "cpu/encoder_kernel.h"
#include "cpu/gate_kernel.h"
#include "cpu/linear_kernel.h"
#include "cpu/rates_kernel.h"
M2T_END_TARGET
#endif
