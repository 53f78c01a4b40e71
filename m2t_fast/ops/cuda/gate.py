"""Launches ``gated_decoder_step`` and its gradient: few rows in launches of their own, many around torch's products."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from m2t_fast.ops.cuda.few_rows import FEW_ROWS, Rows, outer_products, rows_products
from m2t_fast.ops.cuda.launch import addresses, ready, run

OP = "gated_decoder_step"


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
    """Features, gate and gate logit of ``ops.gated_decoder_step``.

    Up to ``FEW_ROWS`` words take two launches, the second of which starts while the first runs.
    """
    lead, dtype = context.shape[:-1], context.dtype
    given = (
        context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias, context_weight,
        context_bias, language_weight, language_bias, mixture_weight, mixture_bias,
    )  # fmt: skip
    inputs = [ready(x) for x in given]
    context, top = inputs[0].flatten(0, 1), inputs[2].flatten(0, 1)
    context_weight, language_weight, mixture_weight, mixture_bias = (inputs[i] for i in (8, 10, 12, 13))
    numbers = _numbers(inputs)
    sizes, force = dict(zip("NHCEDM", numbers, strict=True)), math.nan if force_gate is None else force_gate
    gate, logit = context.new_empty(lead), context.new_empty(lead)
    if len(context) <= FEW_ROWS:
        features = context.new_empty(*lead, len(mixture_bias))
        activated = context.new_empty(2, len(context), len(context_weight))
        outputs = addresses((*activated, features, gate, logit))
        run(OP, "gate_step", context, sizes, sizes=numbers, inputs=addresses(inputs), force_gate=force, outputs=outputs)
        return features.to(dtype), gate.to(dtype), logit.to(dtype)

    between = [*inputs[1:2], *inputs[3:8], context @ context_weight.T, inputs[9], top @ language_weight.T, inputs[11]]
    mixture_input = context.new_empty(len(context), mixture_weight.shape[1])
    run(
        OP,
        "gate_forward",
        context,
        sizes,
        sizes=numbers,
        inputs=addresses(between),
        force_gate=force,
        outputs=addresses((mixture_input, gate, logit)),
    )
    features = mixture_input @ mixture_weight.T
    rows, columns = features.shape
    run(
        OP, "bias_tanh", context, sizes, x=features.data_ptr(), bias=mixture_bias.data_ptr(), rows=rows, columns=columns
    )
    return features.view(*lead, columns).to(dtype), gate.to(dtype), logit.to(dtype)


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
    shape, dtype = context.shape, context.dtype
    given = (
        context, hidden, top, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias, context_weight,
        context_bias, language_weight, language_bias, mixture_weight, mixture_bias,
    )  # fmt: skip
    inputs = [ready(x) for x in given]
    context, hidden, top, word, mixed_word = (x.flatten(0, 1) for x in inputs[:5])
    context_weight, language_weight, mixture_weight = (inputs[i] for i in (8, 10, 12))
    features, gate = ready(features).flatten(0, 1), ready(gate)
    d_features, d_gate, d_gate_logit = (x if x is None else ready(x) for x in grads)
    numbers = _numbers(inputs)
    sizes, force = dict(zip("NHCEDM", numbers, strict=True)), math.nan if force_gate is None else force_gate
    few = len(context) <= FEW_ROWS

    d_mixture = features
    if few:
        # Both tanh of eq. 9 are made again, and stand where many rows have their products and biases.
        motion, language = context.new_empty(2, len(context), len(context_weight))
        made = addresses((motion, language, None, None, None))
        run(OP, "gate_step", context, sizes, sizes=numbers, inputs=addresses(inputs), force_gate=force, outputs=made)
        biases: tuple[Tensor | None, Tensor | None] = None, None
        mixture = Rows(d_features, features)
        (d_mixture_input,) = rows_products(OP, sizes, context, [(mixture, mixture_weight, None)])
    else:
        motion, language, biases = context @ context_weight.T, top @ language_weight.T, (inputs[9], inputs[11])
        d_mixture = torch.zeros_like(features) if d_features is None else torch.empty_like(features)
        if d_features is not None:
            pointers = dict(grad=d_features.data_ptr(), y=features.data_ptr(), out=d_mixture.data_ptr())
            run(OP, "tanh_gradient", context, sizes, **pointers, count=features.numel())
        d_mixture_input = d_mixture @ mixture_weight

    between: list[Tensor | None] = [hidden, word, mixed_word, *inputs[5:8], motion, biases[0], language, biases[1]]
    mixture_input = torch.empty_like(d_mixture_input)
    d_motion, d_language = torch.empty_like(motion), torch.empty_like(language)
    d_hidden, d_word, d_mixed_word = (torch.empty_like(x) for x in inputs[1:5] if x is not inputs[2])
    d_logit = torch.empty_like(gate).flatten()
    run(
        OP,
        "gate_backward",
        context,
        sizes,
        sizes=numbers,
        inputs=addresses(between),
        force_gate=force,
        grads=addresses((gate, d_mixture_input, d_gate, d_gate_logit)),
        outputs=addresses((mixture_input, d_motion, d_language, d_hidden, d_word, d_mixed_word, d_logit)),
    )
    if few:
        d_context, d_top = rows_products(
            OP,
            sizes,
            context,
            [(Rows(d_motion), context_weight, None), (Rows(d_language), language_weight, None)],
        )
        jobs = [
            (Rows(d_logit), 1, hidden),
            (Rows(d_logit), 1, word),
            (Rows(d_motion), motion.shape[1], context),
            (Rows(d_language), language.shape[1], top),
            (mixture, features.shape[1], mixture_input),
        ]
        weights = outer_products(OP, sizes, context, jobs)
        (d_hidden_weight, d_bias), (d_word_weight, _), *layers = weights
        gradients = [d_hidden_weight[0], d_word_weight[0], d_bias[0], *(x for layer in layers for x in layer)]
    else:
        d_context, d_top = d_motion @ context_weight, d_language @ language_weight
        pairs = ((d_motion, context), (d_language, top), (d_mixture, mixture_input))
        layers = [(d.T @ x, d.sum(0)) for d, x in pairs]
        gradients = [d_logit @ hidden, d_logit @ word, d_logit.sum(), *(x for layer in layers for x in layer)]
    outputs = (d_context.view(shape), d_hidden, d_top.view(d_hidden.shape), d_word, d_mixed_word, *gradients)
    return tuple(x.to(dtype) for x in outputs)


def _numbers(inputs: list[Tensor]) -> list[int]:
    """N, H, C, E, D and M of the op's inputs."""
    context, hidden, _, word, *_ = inputs
    rows = context.shape[0] * context.shape[1]
    return [rows, context.shape[2], hidden.shape[2], word.shape[2], len(inputs[9]), len(inputs[13])]
