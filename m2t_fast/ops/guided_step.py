"""The op ``guided_decoder_step``: the gated step of a guided training step, with the adaptive loss of every word."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import autocast, check_shape, wide
from m2t_fast.ops.guided import fused
from m2t_fast.ops.registry import chosen_backend, implementation
from m2t_fast.reference.loss import adaptive_terms, adaptive_terms_gradient

NAME = "guided_decoder_step"


def guided_decoder_step(
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
    gate_target: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gated step and adaptive loss (eq. 7, 9, 10 and 12) at once, on checked arguments.

    Args:
        gate_target: (B, L): 1 motion word, 0 other word, -1 unsupervised; no gradient. The others, with the shapes
            that ``gated_decoder_step`` checks, as there.

    Returns:
        features (B, L, M), gate (B, L) and gate logit (B, L) as ``gated_decoder_step`` gives them, and (B, L) float32
        (of float64 inputs float64): every word's binary cross entropy, 0 where it is not supervised. Differentiable in
        every float input. Under ``torch.autocast`` the first three are in its dtype.

    Raises:
        ValueError: gate_target has another shape.
    """
    check_shape(NAME, "gate_target", gate_target, tuple(context.shape[:2]), {})
    tensors = autocast(
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
    )
    return torch.ops.m2t_fast.guided_decoder_step(*tensors, gate_target, chosen_backend())


@torch.library.custom_op("m2t_fast::guided_decoder_step", mutates_args=())
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
    gate_target: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs = (
        context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias, context_weight,
        context_bias, language_weight, language_bias, mixture_weight, mixture_bias,
    )  # fmt: skip
    if fused(NAME, context, backend):
        return implementation(NAME, backend, context)(*inputs, gate_target)
    features, gate, gate_logit = implementation("gated_decoder_step", backend, context)(*inputs, None)
    return features, gate, gate_logit, adaptive_terms(wide(gate_logit), gate_target)


@_forward.register_fake
def _(context, hidden, top, word, mixed_word, *rest):
    mixture_bias = rest[-3]
    row = context.new_empty(context.shape[:2])
    features = context.new_empty(*context.shape[:2], mixture_bias.shape[0])
    return features, row, torch.empty_like(row), torch.empty_like(wide(row))


@torch.library.custom_op("m2t_fast::guided_decoder_step_backward", mutates_args=())
def _backward(
    grad_features: Tensor | None,
    grad_gate: Tensor | None,
    grad_gate_logit: Tensor | None,
    grad_loss: Tensor | None,
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
    gate_target: Tensor,
    features: Tensor,
    gate: Tensor,
    gate_logit: Tensor,
    backend: str,
) -> tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor
]:  # fmt: skip
    inputs = (
        context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias, context_weight,
        context_bias, language_weight, language_bias, mixture_weight, mixture_bias,
    )  # fmt: skip
    if fused(NAME, context, backend):
        run = implementation(NAME, backend, context, "_backward")
        grads = (grad_features, grad_gate, grad_gate_logit, grad_loss)
        return run(grads, *inputs, gate_target, features, gate, gate_logit)
    if grad_loss is not None:
        slope = (adaptive_terms_gradient(wide(gate_logit), gate_target) * grad_loss).to(gate_logit.dtype)
        grad_gate_logit = slope if grad_gate_logit is None else grad_gate_logit + slope
    run = implementation("gated_decoder_step", backend, context, "_backward")
    return run((grad_features, grad_gate, grad_gate_logit), *inputs, features, gate, None)


@_backward.register_fake
def _(grad_features, grad_gate, grad_gate_logit, grad_loss, *rest):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in rest[:14])


def _setup_context(ctx, inputs, output):
    *tensors, ctx.backend = inputs
    features, gate, gate_logit, _ = output
    ctx.save_for_backward(*tensors, features, gate, gate_logit)
    ctx.set_materialize_grads(False)


def _autograd_backward(ctx, *grads):
    result = torch.ops.m2t_fast.guided_decoder_step_backward(*grads, *ctx.saved_tensors, ctx.backend)
    return *result, None, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
