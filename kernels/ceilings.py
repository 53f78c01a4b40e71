"""A kernel that does nothing but tanh: the rate that benchmarks compare the attention with."""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.tanh import tanh


@triton.jit(do_not_specialize=["COUNT"])
def repeat_tanh(out, COUNT, BLOCK: tl.constexpr, APPROXIMATE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Program: COUNT tanh, one after the other, of each of BLOCK numbers, which end in ``out``."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = place.to(tl.float32) * 1e-6
    for _ in range(COUNT):
        if APPROXIMATE:  # NVIDIA's instruction, for which Triton has no function
            y = tl.inline_asm_elementwise(
                "tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
            )
        else:
            y = tanh(x)
        x = y + 0.7
    tl.store(out + place, x)
