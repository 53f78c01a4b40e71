"""Kernels of ``gated_decoder_step``: everything between torch's products, forward and backward (eq. 7, 9 and 10)."""

from __future__ import annotations

import triton
import triton.language as tl

from m2t_fast.kernels.functions import gate_loss, gate_loss_slope
from m2t_fast.kernels.tanh import tanh


@triton.jit(do_not_specialize=["N"])
def gate_forward(  # type: ignore[no-untyped-def]
    hidden, word, mixed_word, hidden_weight, word_weight, gate_bias, motion_product, motion_bias, language_product,
    language_bias, target, mixture_input, gate, gate_logit, loss, force_gate, N,
    C: tl.constexpr, E: tl.constexpr, D: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
    FORCED: tl.constexpr,
):  # fmt: skip
    """Program (words of the batch): gate, its logit, and mixture_input (N, E + D + C) = [word; adaptive; hidden].

    With target (N,), 1, 0 or -1 (not supervised) in float32, also every word's adaptive loss (N,) float32; else None.
    """
    n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    n_ok = n < N
    mixture_row = (n * (E + D + C))[:, None]
    logit = tl.zeros([BLOCK_N], tl.float32) + tl.load(gate_bias).to(tl.float32)
    for first in range(0, C, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)
        fits = n_ok[:, None] & (c < C)
        x = tl.load(hidden + (n * C)[:, None] + c, mask=fits, other=0.0)
        w = tl.load(hidden_weight + c, mask=c < C, other=0.0).to(tl.float32)
        logit += tl.sum(x.to(tl.float32) * w, axis=1)
        tl.store(mixture_input + mixture_row + (E + D) + c, x, mask=fits)
    for first in range(0, E, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)
        fits = n_ok[:, None] & (c < E)
        x = tl.load(word + (n * E)[:, None] + c, mask=fits, other=0.0)
        w = tl.load(word_weight + c, mask=c < E, other=0.0).to(tl.float32)
        logit += tl.sum(x.to(tl.float32) * w, axis=1)
        tl.store(mixture_input + mixture_row + c, tl.load(mixed_word + (n * E)[:, None] + c, mask=fits), mask=fits)
    if FORCED:
        beta = tl.zeros([BLOCK_N], tl.float32) + force_gate
    else:
        beta = 1.0 / (1.0 + tl.exp(-logit))
    tl.store(gate + n, beta.to(gate.dtype.element_ty), mask=n_ok)
    tl.store(gate_logit + n, logit.to(gate_logit.dtype.element_ty), mask=n_ok)
    if target is not None:
        tl.store(loss + n, gate_loss(logit, tl.load(target + n, mask=n_ok, other=-1.0)), mask=n_ok)
    for first in range(0, D, BLOCK_C):
        d = first + tl.arange(0, BLOCK_C)
        fits = n_ok[:, None] & (d < D)
        at = (n * D)[:, None] + d
        motion = tl.load(motion_product + at, mask=fits, other=0.0).to(tl.float32)
        motion = tanh(motion + tl.load(motion_bias + d, mask=d < D, other=0.0).to(tl.float32))
        language = tl.load(language_product + at, mask=fits, other=0.0).to(tl.float32)
        language = tanh(language + tl.load(language_bias + d, mask=d < D, other=0.0).to(tl.float32))
        adaptive = beta[:, None] * motion + (1.0 - beta[:, None]) * language
        tl.store(mixture_input + mixture_row + E + d, adaptive.to(mixture_input.dtype.element_ty), mask=fits)


@triton.jit(do_not_specialize=["N"])
def gate_backward(  # type: ignore[no-untyped-def]
    hidden, mixed_word, hidden_weight, word_weight, motion_product, motion_bias, language_product, language_bias,
    gate, gate_logit, target, d_mixture_input, d_gate, d_gate_logit, d_loss,
    mixture_input, d_motion, d_language, d_hidden, d_word, d_mixed_word, d_logit, N,
    C: tl.constexpr, E: tl.constexpr, D: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
    FORCED: tl.constexpr,
):  # fmt: skip
    """Program (words of the batch): the mixture's input again, and the gradients before torch's products.

    d_gate, d_gate_logit and d_loss are None where the output was not used; gate_logit and target are read for d_loss
    (N,) float32 alone. A forced gate is a constant.
    """
    n = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    n_ok = n < N
    mixture_row = (n * (E + D + C))[:, None]
    beta = tl.load(gate + n, mask=n_ok, other=0.0).to(tl.float32)
    d_beta = tl.zeros([BLOCK_N], tl.float32)
    for first in range(0, D, BLOCK_C):
        d = first + tl.arange(0, BLOCK_C)
        fits = n_ok[:, None] & (d < D)
        at = (n * D)[:, None] + d
        motion = tl.load(motion_product + at, mask=fits, other=0.0).to(tl.float32)
        motion = tanh(motion + tl.load(motion_bias + d, mask=d < D, other=0.0).to(tl.float32))
        language = tl.load(language_product + at, mask=fits, other=0.0).to(tl.float32)
        language = tanh(language + tl.load(language_bias + d, mask=d < D, other=0.0).to(tl.float32))
        adaptive = beta[:, None] * motion + (1.0 - beta[:, None]) * language
        tl.store(mixture_input + mixture_row + E + d, adaptive.to(mixture_input.dtype.element_ty), mask=fits)
        g = tl.load(d_mixture_input + mixture_row + E + d, mask=fits, other=0.0).to(tl.float32)
        d_beta += tl.sum(g * (motion - language), axis=1)
        g_motion = g * beta[:, None] * (1.0 - motion * motion)
        g_language = g * (1.0 - beta[:, None]) * (1.0 - language * language)
        tl.store(d_motion + at, g_motion.to(d_motion.dtype.element_ty), mask=fits)
        tl.store(d_language + at, g_language.to(d_language.dtype.element_ty), mask=fits)
    total = tl.zeros([BLOCK_N], tl.float32)
    if d_gate_logit is not None:
        total += tl.load(d_gate_logit + n, mask=n_ok, other=0.0).to(tl.float32)
    if d_loss is not None:
        own = tl.load(gate_logit + n, mask=n_ok, other=0.0).to(tl.float32)
        slope = gate_loss_slope(own, tl.load(target + n, mask=n_ok, other=-1.0))
        total += slope * tl.load(d_loss + n, mask=n_ok, other=0.0)
    if not FORCED:
        if d_gate is not None:
            d_beta += tl.load(d_gate + n, mask=n_ok, other=0.0).to(tl.float32)
        total += d_beta * beta * (1.0 - beta)
    tl.store(d_logit + n, total.to(d_logit.dtype.element_ty), mask=n_ok)
    for first in range(0, C, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)
        fits = n_ok[:, None] & (c < C)
        at = (n * C)[:, None] + c
        w = tl.load(hidden_weight + c, mask=c < C, other=0.0).to(tl.float32)
        g = tl.load(d_mixture_input + mixture_row + (E + D) + c, mask=fits, other=0.0).to(tl.float32)
        tl.store(d_hidden + at, (g + total[:, None] * w).to(d_hidden.dtype.element_ty), mask=fits)
        tl.store(mixture_input + mixture_row + (E + D) + c, tl.load(hidden + at, mask=fits), mask=fits)
    for first in range(0, E, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)
        fits = n_ok[:, None] & (c < E)
        at = (n * E)[:, None] + c
        w = tl.load(word_weight + c, mask=c < E, other=0.0).to(tl.float32)
        tl.store(d_word + at, (total[:, None] * w).to(d_word.dtype.element_ty), mask=fits)
        tl.store(d_mixed_word + at, tl.load(d_mixture_input + mixture_row + c, mask=fits), mask=fits)
        tl.store(mixture_input + mixture_row + c, tl.load(mixed_word + at, mask=fits), mask=fits)


@triton.jit(do_not_specialize=["COUNT"])
def bias_tanh(  # type: ignore[no-untyped-def]
    x, bias, out, COUNT, M: tl.constexpr, BLOCK: tl.constexpr
):
    """Program (a block of COUNT numbers): out = tanh(x + bias) of rows x (COUNT / M, M) and bias (M,)."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    fits = i < COUNT
    y = tl.load(x + i, mask=fits, other=0.0).to(tl.float32) + tl.load(bias + i % M, mask=fits, other=0.0).to(tl.float32)
    tl.store(out + i, tanh(y).to(out.dtype.element_ty), mask=fits)


@triton.jit(do_not_specialize=["COUNT"])
def tanh_gradient(grad, y, out, COUNT, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Program (a block of COUNT numbers): out = grad * (1 - y^2), where y = tanh(x)."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    fits = i < COUNT
    value = tl.load(y + i, mask=fits, other=0.0).to(tl.float32)
    g = tl.load(grad + i, mask=fits, other=0.0).to(tl.float32) * (1.0 - value * value)
    tl.store(out + i, g.to(out.dtype.element_ty), mask=fits)
