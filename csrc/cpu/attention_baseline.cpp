// The attention kernels compiled for the instruction set that the compiler targets by default.
#define M2T_ISA baseline
#define M2T_VECTOR_BYTES 16
#include "common/isa.h"

#include "cpu/attention_kernel.h"
