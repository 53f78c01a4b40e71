"""The op ``gated_decoder_step``: its contract, registration, gradient and dispatch."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import autocast, check_same_float, check_shape
from m2t_fast.ops.registry import chosen_backend, implementation
from m2t_fast.reference.gate import GateOutput

NAME = "gated_decoder_step"


def gated_decoder_step(
    context: Tensor,
    hidden: Tensor,
    top: Tensor,
    word: Tensor,
    mixed_word: Tensor,
    gate_hidden_weight: Tensor,
    gate_word_weight: Tensor,
    gate_bias: Tensor,
    context_weight: Tensor,
    context_bias: Tensor,
    language_weight: Tensor,
    language_bias: Tensor,
    mixture_weight: Tensor,
    mixture_bias: Tensor,
    force_gate: float | None = None,
) -> GateOutput:
    """Adaptive gate, adaptive context and the mixture layer, fused (eq. 7, 9 and the hidden layer of eq. 10).

    Args:
        context: (B, L, H) motion context. hidden: (B, L, C) bottom LSTM. top: (B, L, C) top LSTM.
        word: (B, L, E) embedding of the previous word; mixed_word: (B, L, E) the same after dropout.
        gate_hidden_weight: (C,). gate_word_weight: (E,). gate_bias: ().
        context_weight: (D, H). context_bias: (D,). language_weight: (D, C). language_bias: (D,).
        mixture_weight: (M, E + D + C), columns in the order [word; adaptive context; hidden]. mixture_bias: (M,).
        force_gate: replaces beta everywhere, in [0, 1], or None.

    Returns:
        GateOutput(features (B, L, M), gate (B, L), gate_logit (B, L)), differentiable in every float input.
        Under ``torch.autocast`` in its dtype, whatever the inputs' are.

    Raises:
        ValueError: a shape or device does not fit, or force_gate is outside [0, 1]. TypeError: a dtype does not fit.
    """
    sizes: dict[str, int] = {}
    check_shape(NAME, "context", context, ("B", "L", "H"), sizes)
    check_shape(NAME, "hidden", hidden, ("B", "L", "C"), sizes)
    check_shape(NAME, "top", top, ("B", "L", "C"), sizes)
    check_shape(NAME, "word", word, ("B", "L", "E"), sizes)
    check_shape(NAME, "mixed_word", mixed_word, ("B", "L", "E"), sizes)
    check_shape(NAME, "gate_hidden_weight", gate_hidden_weight, ("C",), sizes)
    check_shape(NAME, "gate_word_weight", gate_word_weight, ("E",), sizes)
    check_shape(NAME, "gate_bias", gate_bias, (), sizes)
    check_shape(NAME, "context_weight", context_weight, ("D", "H"), sizes)
    check_shape(NAME, "context_bias", context_bias, ("D",), sizes)
    check_shape(NAME, "language_weight", language_weight, ("D", "C"), sizes)
    check_shape(NAME, "language_bias", language_bias, ("D",), sizes)
    columns = sizes["E"] + sizes["D"] + sizes["C"]
    check_shape(NAME, "mixture_weight", mixture_weight, ("M", columns), sizes)
    check_shape(NAME, "mixture_bias", mixture_bias, ("M",), sizes)
    tensors = dict(
        context=context,
        hidden=hidden,
        top=top,
        word=word,
        mixed_word=mixed_word,
        gate_hidden_weight=gate_hidden_weight,
        gate_word_weight=gate_word_weight,
        gate_bias=gate_bias,
        context_weight=context_weight,
        context_bias=context_bias,
        language_weight=language_weight,
        language_bias=language_bias,
        mixture_weight=mixture_weight,
        mixture_bias=mixture_bias,
    )
    tensors = dict(zip(tensors, autocast(*tensors.values()), strict=True))
    check_same_float(NAME, **tensors)
    check_force_gate(force_gate)
    return GateOutput(*torch.ops.m2t_fast.gated_decoder_step(*tensors.values(), force_gate, chosen_backend()))


def check_force_gate(force_gate: float | None) -> None:
    """Raises ValueError unless ``force_gate`` is None or a number in [0, 1]."""
    if force_gate is not None and not 0.0 <= force_gate <= 1.0:
        raise ValueError(f"force_gate: got {force_gate!r}, expected a number in [0, 1] or None")


@torch.library.custom_op("m2t_fast::gated_decoder_step", mutates_args=())
def _forward(
    context: Tensor,
    hidden: Tensor,
    top: Tensor,
    word: Tensor,
    mixed_word: Tensor,
    gate_hidden_weight: Tensor,
    gate_word_weight: Tensor,
    gate_bias: Tensor,
    context_weight: Tensor,
    context_bias: Tensor,
    language_weight: Tensor,
    language_bias: Tensor,
    mixture_weight: Tensor,
    mixture_bias: Tensor,
    force_gate: float | None,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    run = implementation(NAME, backend, context)
    return run(
        context,
        hidden,
        top,
        word,
        mixed_word,
        gate_hidden_weight,
        gate_word_weight,
        gate_bias,
        context_weight,
        context_bias,
        language_weight,
        language_bias,
        mixture_weight,
        mixture_bias,
        force_gate,
    )


@_forward.register_fake
def _(context, hidden, top, word, mixed_word, *rest):
    batch, words, _ = context.shape
    mixture_bias = rest[-3]
    return (
        context.new_empty(batch, words, mixture_bias.shape[0]),
        context.new_empty(batch, words),
        context.new_empty(batch, words),
    )


@torch.library.custom_op("m2t_fast::gated_decoder_step_backward", mutates_args=())
def _backward(
    grad_features: Tensor | None,
    grad_gate: Tensor | None,
    grad_gate_logit: Tensor | None,
    context: Tensor,
    hidden: Tensor,
    top: Tensor,
    word: Tensor,
    mixed_word: Tensor,
    gate_hidden_weight: Tensor,
    gate_word_weight: Tensor,
    gate_bias: Tensor,
    context_weight: Tensor,
    context_bias: Tensor,
    language_weight: Tensor,
    language_bias: Tensor,
    mixture_weight: Tensor,
    mixture_bias: Tensor,
    features: Tensor,
    gate: Tensor,
    force_gate: float | None,
    backend: str,
) -> tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor
]:  # fmt: skip
    run = implementation(NAME, backend, context, "_backward")
    return run(
        (grad_features, grad_gate, grad_gate_logit),
        context,
        hidden,
        top,
        word,
        mixed_word,
        gate_hidden_weight,
        gate_word_weight,
        gate_bias,
        context_weight,
        context_bias,
        language_weight,
        language_bias,
        mixture_weight,
        mixture_bias,
        features,
        gate,
        force_gate,
    )


@_backward.register_fake
def _(grad_features, grad_gate, grad_gate_logit, *rest):
    inputs = rest[:14]
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in inputs)


def _setup_context(ctx, inputs, output):
    *tensors, force_gate, backend = inputs
    features, gate, _ = output
    ctx.save_for_backward(*tensors, features, gate)
    ctx.force_gate, ctx.backend = force_gate, backend
    ctx.set_materialize_grads(False)


def _autograd_backward(ctx, *grads):
    saved = ctx.saved_tensors
    result = torch.ops.m2t_fast.gated_decoder_step_backward(*grads, *saved, ctx.force_gate, ctx.backend)
    return *result, None, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
