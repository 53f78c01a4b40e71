"""Launches the gated decoder step and its gradient: the products are torch's, what lies between them is one kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.kernels.gate import bias_tanh, gate_backward, gate_forward, tanh_gradient
from m2t_fast.ops.triton.launch import approximate, configuration, float_target, on_device, power_of_2, ready


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
    force_gate: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features, gate and gate logit of ``ops.gated_decoder_step``."""
    inputs = [context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias]
    weights = [context_weight, context_bias, language_weight, language_bias, mixture_weight, mixture_bias]
    return _forward([*inputs, *weights], force_gate)


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
    """Features, gate, gate logit and adaptive loss of ``ops.guided_decoder_step``."""
    inputs = [context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias]
    weights = [context_weight, context_bias, language_weight, language_bias, mixture_weight, mixture_bias]
    loss = context.new_empty(context.shape[:2], dtype=torch.float32)
    return *_forward([*inputs, *weights], None, gate_target, loss), loss


def _forward(
    tensors: list[Tensor], force_gate: float | None, target: Tensor | None = None, loss: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias, *weights = tensors
    context_weight, context_bias, language_weight, language_bias, mixture_weight, mixture_bias = weights
    lead, dtype = context.shape[:-1], context.dtype
    context, top, context_weight, language_weight, mixture_weight, mixture_bias = (
        ready(x) for x in (context, top, context_weight, language_weight, mixture_weight, mixture_bias)
    )
    words = [ready(x) for x in (hidden, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias)]
    motion, language = context.flatten(0, 1) @ context_weight.T, top.flatten(0, 1) @ language_weight.T
    mixture_input = context.new_empty(len(motion), mixture_weight.shape[1])
    gate, logit = context.new_empty(lead), context.new_empty(lead)
    if not len(motion):
        return context.new_empty(*lead, len(mixture_bias), dtype=dtype), gate.to(dtype), logit.to(dtype)
    with on_device(context):
        blocks = gate_blocks("gate_forward", words[0], words[1], motion)
        gate_forward[(-(-len(motion) // blocks["BLOCK_N"]),)](
            *words,
            motion,
            ready(context_bias),
            language,
            ready(language_bias),
            float_target(target),
            mixture_input,
            gate,
            logit,
            loss,
            0.0 if force_gate is None else force_gate,
            len(motion),
            FORCED=force_gate is not None,
            **blocks,
        )
        product = mixture_input @ mixture_weight.T
        features = torch.empty_like(product)
        options = configuration("bias_tanh", product)
        bias_tanh[(-(-product.numel() // options["BLOCK"]),)](
            product,
            mixture_bias,
            features,
            product.numel(),
            M=len(mixture_bias),
            APPROXIMATE=approximate(product),
            **options,
        )
    return features.view(*lead, -1).to(dtype), gate.to(dtype), logit.to(dtype)


def gated_decoder_step_backward(
    grads: tuple[Tensor | None, ...],
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
) -> tuple[Tensor, ...]:
    """Gradients of the fourteen inputs, from the gradients of features, gate and gate logit (None: not used)."""
    inputs = [context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias]
    weights = [context_weight, context_bias, language_weight, language_bias, mixture_weight, mixture_bias]
    return _backward((*grads, None), [*inputs, *weights], features, gate, None, None, force_gate)


def guided_decoder_step_backward(
    grads: tuple[Tensor | None, ...],
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
) -> tuple[Tensor, ...]:
    """Gradients of the fourteen float inputs, from those of the four outputs (None: not used)."""
    inputs = [context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias]
    weights = [context_weight, context_bias, language_weight, language_bias, mixture_weight, mixture_bias]
    return _backward(grads, [*inputs, *weights], features, gate, gate_logit, gate_target, None)


def _backward(
    grads: tuple[Tensor | None, ...],
    tensors: list[Tensor],
    features: Tensor,
    gate: Tensor,
    gate_logit: Tensor | None,
    target: Tensor | None,
    force_gate: float | None,
) -> tuple[Tensor, ...]:
    context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, _, *weights = tensors
    context_weight, context_bias, language_weight, language_bias, mixture_weight, _ = weights
    shape, dtype = context.shape, context.dtype
    context, hidden, top, word, mixed_word, context_weight, language_weight, mixture_weight, features, gate = (
        ready(x)
        for x in (
            context,
            hidden,
            top,
            word,
            mixed_word,
            context_weight,
            language_weight,
            mixture_weight,
            features,
            gate,
        )
    )
    d_features, d_gate, d_gate_logit = (x if x is None else ready(x) for x in grads[:3])
    d_loss = grads[3]
    if d_loss is None or gate_logit is None:
        logit = goal = d_loss = None
    else:
        logit, goal, d_loss = ready(gate_logit), float_target(target), d_loss.float().contiguous()
    rows, top_rows, features = context.flatten(0, 1), top.flatten(0, 1), features.flatten(0, 1)
    motion, language = rows @ context_weight.T, top_rows @ language_weight.T
    d_mixture = torch.zeros_like(features) if d_features is None else torch.empty_like(features)
    d_motion, d_language = torch.empty_like(motion), torch.empty_like(language)
    d_hidden, d_word, d_mixed_word, d_logit = (torch.empty_like(x) for x in (hidden, word, mixed_word, gate))
    with on_device(context):
        if d_features is not None and features.numel():
            options = configuration("tanh_gradient", features)
            tanh_gradient[(-(-features.numel() // options["BLOCK"]),)](
                d_features, features, d_mixture, features.numel(), **options
            )
        d_mixture_input = d_mixture @ mixture_weight
        mixture_input = torch.empty_like(d_mixture_input)
        if len(motion):
            blocks = gate_blocks("gate_backward", hidden, word, motion)
            gate_backward[(-(-len(motion) // blocks["BLOCK_N"]),)](
                hidden,
                mixed_word,
                ready(gate_hidden_weight),
                ready(gate_word_weight),
                motion,
                ready(context_bias),
                language,
                ready(language_bias),
                gate,
                logit,
                goal,
                d_mixture_input,
                d_gate,
                d_gate_logit,
                d_loss,
                mixture_input,
                d_motion,
                d_language,
                d_hidden,
                d_word,
                d_mixed_word,
                d_logit,
                len(motion),
                FORCED=force_gate is not None,
                **blocks,
            )
        along = d_logit.flatten()
        outputs = (
            (d_motion @ context_weight).view(shape),
            d_hidden,
            (d_language @ language_weight).view(top.shape),
            d_word,
            d_mixed_word,
            along @ hidden.flatten(0, 1),
            along @ word.flatten(0, 1),
            along.sum(),
            d_motion.T @ rows,
            d_motion.sum(0),
            d_language.T @ top_rows,
            d_language.sum(0),
            d_mixture.T @ mixture_input,
            d_mixture.sum(0),
        )
    return tuple(x.to(dtype) for x in outputs)


def gate_blocks(kernel: str, hidden: Tensor, word: Tensor, attention: Tensor) -> dict[str, Any]:
    """Compile-time sizes and launch options of the gate's kernels."""
    sizes = {"C": hidden.shape[-1], "E": word.shape[-1], "D": attention.shape[-1]}
    blocks = configuration(kernel, attention)
    return {
        **blocks,
        **sizes,
        "BLOCK_C": min(blocks["BLOCK_C"], power_of_2(max(sizes.values()))),
        "APPROXIMATE": approximate(attention),
    }
