"""Launches ``gated_decoder_step`` and its gradient: linear layers, and between them one kernel."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.cpu.launch import ready, run
from m2t_fast.ops.cpu.linear import arithmetic, as_computed, input_gradient, linear, weight_gradients
from m2t_fast.records import converted
from m2t_fast.reference.gate import GateInputs, GateOutput


def gated_decoder_step(x: GateInputs) -> GateOutput:
    """Features, gate and gate logit of ``ops.gated_decoder_step``."""
    lead, dtype, layers, x = x.context.shape[:-1], x.context.dtype, _Layers(x), converted(x, ready)
    products = layers.products()
    mixture_input = x.context.new_empty(len(products[0]), x.mixture_weight.shape[1])
    gate, logit = x.context.new_empty(lead), x.context.new_empty(lead)
    outputs = dict(mixture_input=mixture_input, gate=gate, logit=logit)
    run("gate_forward", gate.dtype, outputs=outputs, **_arguments(x, products))
    (features,) = linear(
        layers.computed(mixture_input), [(layers.mixture_weight, layers.computed(x.mixture_bias))], tanh=True
    )
    return GateOutput(features.view(*lead, features.shape[1]).to(dtype), gate.to(dtype), logit.to(dtype))


def gated_decoder_step_backward(grads: GateOutput, x: GateInputs, saved: Any) -> dict[str, Tensor]:
    """Gradients of the fourteen float inputs, from those of the outputs (None: not used)."""
    dtype, layers, x = x.context.dtype, _Layers(x), converted(x, ready)
    d_features, d_gate, d_gate_logit = (v if v is None else ready(v) for v in grads)
    gate, features = ready(saved.gate), ready(saved.features).flatten(0, 1)
    products = layers.products()
    hidden, word = x.hidden.flatten(0, 1), x.word.flatten(0, 1)

    d_mixture = torch.zeros_like(features) if d_features is None else torch.empty_like(features)
    if d_features is not None:
        task = dict(grad=d_features, y=features, out=d_mixture, count=features.numel())
        run("tanh_gradient", features.dtype, task=task)
    d_mixture = layers.computed(d_mixture)
    d_mixture_input = ready(input_gradient([d_mixture], [layers.mixture_weight]))
    mixture_input = torch.empty_like(d_mixture_input)
    d_motion, d_language = map(torch.empty_like, products)
    d_hidden, d_word, d_mixed_word = map(torch.empty_like, (x.hidden, x.word, x.mixed_word))
    d_logit = torch.empty_like(gate)
    outputs = dict(
        gate=gate,
        d_mixture_input=d_mixture_input,
        d_gate=d_gate,
        d_logit=d_gate_logit,
        mixture_input=mixture_input,
        d_context=d_motion,
        d_language=d_language,
        d_hidden=d_hidden,
        d_word=d_word,
        d_mixed_word=d_mixed_word,
        d_total_logit=d_logit,
    )
    run("gate_backward", gate.dtype, outputs=outputs, **_arguments(x, products))
    rows = d_logit.flatten()
    d_motion, d_language, mixture_input = map(layers.computed, (d_motion, d_language, mixture_input))
    pairs = [(d_motion, layers.context), (d_language, layers.top), (d_mixture, mixture_input)]
    d_context_layer, d_language_layer, d_mixture_layer = weight_gradients(pairs)
    found = dict(
        context=input_gradient([d_motion], [layers.context_weight]).view(x.context.shape),
        hidden=d_hidden,
        top=input_gradient([d_language], [layers.language_weight]).view(x.top.shape),
        word=d_word,
        mixed_word=d_mixed_word,
        gate_hidden_weight=rows @ hidden,
        gate_word_weight=rows @ word,
        gate_bias=rows.sum(),
        **dict(zip(("context_weight", "context_bias"), d_context_layer, strict=True)),
        **dict(zip(("language_weight", "language_bias"), d_language_layer, strict=True)),
        **dict(zip(("mixture_weight", "mixture_bias"), d_mixture_layer, strict=True)),
    )
    return {name: value.to(dtype) for name, value in found.items()}


class _Layers:
    """The three linear layers in the dtype of their products, and the inputs of two of them."""

    def __init__(self, x: GateInputs):
        weights = x.context_weight, x.language_weight, x.mixture_weight
        self.dtype = arithmetic(x.context.dtype, [n for weight in weights for n in weight.shape])
        self.context, self.top = (self.computed(v.flatten(0, 1)) for v in (x.context, x.top))
        self.context_weight, self.language_weight = self.computed(x.context_weight), self.computed(x.language_weight)
        self.mixture_weight = self.computed(x.mixture_weight)

    def computed(self, x: Tensor) -> Tensor:
        """As the products take it."""
        return as_computed(x, self.dtype)

    def products(self) -> tuple[Tensor, Tensor]:
        """W_c c and W_r hbar of eq. 9, (N, D) each for the N words of all captions, in the dtype of their sums."""
        (motion,) = linear(self.context, [(self.context_weight, None)], wide=True)
        (language,) = linear(self.top, [(self.language_weight, None)], wide=True)
        return motion, language


def _arguments(x: GateInputs, products: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """What both kernels take. The caller holds the tensors for as long as the kernel runs."""
    motion, language = products
    force_gate = math.nan if x.force_gate is None else x.force_gate
    rows, attention = motion.shape
    return dict(
        sizes=dict(rows=rows, hidden=x.hidden.shape[-1], word=x.word.shape[-1], attention=attention),
        inputs={**x._asdict(), "context_product": motion, "language_product": language, "force_gate": force_gate},
    )
