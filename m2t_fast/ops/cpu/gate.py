"""Launches ``gated_decoder_step`` and its gradient: linear layers, and between them one kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import addresses, how, kernel, ready
from m2t_fast.ops.cpu.linear import input_gradient, linear, weight_gradients


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
    lead, dtype = context.shape[:-1], context.dtype
    context, top, context_weight, language_weight, mixture_weight, mixture_bias = (
        ready(x) for x in (context, top, context_weight, language_weight, mixture_weight, mixture_bias)
    )
    inputs = [
        *(ready(x) for x in (hidden, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias)),
        *linear(context.flatten(0, 1), [(context_weight, None)]),
        ready(context_bias),
        *linear(top.flatten(0, 1), [(language_weight, None)]),
        ready(language_bias),
    ]
    sizes = _gate_sizes(inputs)
    mixture_input = context.new_empty(sizes[0], mixture_weight.shape[1])
    gate, logit = context.new_empty(lead), context.new_empty(lead)
    kernel("gate_forward", dtype)(
        sizes=sizes,
        inputs=addresses(inputs),
        force_gate=math.nan if force_gate is None else force_gate,
        outputs=addresses((mixture_input, gate, logit)),
        **how(),
    )
    (features,) = linear(mixture_input, [(mixture_weight, mixture_bias)], tanh=True)
    return features.view(*lead, features.shape[1]).to(dtype), gate.to(dtype), logit.to(dtype)


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
    context, hidden, top, word, context_weight, language_weight, mixture_weight, features = (
        ready(x) for x in (context, hidden, top, word, context_weight, language_weight, mixture_weight, features)
    )
    grads = tuple(x if x is None else ready(x) for x in grads)
    context, top, features = context.flatten(0, 1), top.flatten(0, 1), features.flatten(0, 1)
    inputs = [
        *(ready(x) for x in (hidden, word, mixed_word, gate_hidden_weight, gate_word_weight, gate_bias)),
        *linear(context, [(context_weight, None)]),
        ready(context_bias),
        *linear(top, [(language_weight, None)]),
        ready(language_bias),
    ]
    sizes = _gate_sizes(inputs)

    d_mixture = torch.zeros_like(features) if grads[0] is None else torch.empty_like(features)
    if grads[0] is not None:
        kernel("tanh_gradient", dtype)(
            grad=grads[0].data_ptr(),
            y=features.data_ptr(),
            out=d_mixture.data_ptr(),
            count=features.numel(),
            **how(),
        )
    ready_gate, d_mixture_input = ready(gate), input_gradient([d_mixture], [mixture_weight])
    mixture_input = torch.empty_like(d_mixture_input)
    d_motion, d_language = torch.empty_like(inputs[6]), torch.empty_like(inputs[8])
    d_hidden, d_word, d_mixed_word = (torch.empty_like(x) for x in inputs[:3])
    d_logit = torch.empty_like(ready_gate)
    kernel("gate_backward", dtype)(
        sizes=sizes,
        inputs=addresses(inputs),
        force_gate=math.nan if force_gate is None else force_gate,
        grads=addresses((ready_gate, d_mixture_input, *grads[1:])),
        outputs=addresses((mixture_input, d_motion, d_language, d_hidden, d_word, d_mixed_word, d_logit)),
        **how(),
    )
    rows = d_logit.flatten()
    pairs = [(d_motion, context), (d_language, top), (d_mixture, mixture_input)]
    d_context_layer, d_language_layer, d_mixture_layer = weight_gradients(pairs)
    outputs = (
        input_gradient([d_motion], [context_weight]).view(shape),
        d_hidden,
        input_gradient([d_language], [language_weight]).view(hidden.shape),
        d_word,
        d_mixed_word,
        rows @ hidden.flatten(0, 1),
        rows @ word.flatten(0, 1),
        rows.sum(),
        *d_context_layer,
        *d_language_layer,
        *d_mixture_layer,
    )
    return tuple(x.to(dtype) for x in outputs)


def _gate_sizes(inputs: list[Tensor]) -> list[int]:
    """Rows, C, E and D from the inputs of the gate's kernels."""
    hidden, word, attention = inputs[0], inputs[1], inputs[6]
    return [attention.shape[0], hidden.shape[-1], word.shape[-1], attention.shape[1]]
