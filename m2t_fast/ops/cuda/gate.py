"""Launches ``gated_decoder_step`` and its gradient: few rows in launches of their own, many around torch's products."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast.ops.cuda.few_rows import FEW_ROWS, Rows, outer_products, rows_products
from m2t_fast.ops.cuda.launch import ready, run
from m2t_fast.records import converted
from m2t_fast.reference.gate import GateInputs, GateOutput

OP = "gated_decoder_step"


def gated_decoder_step(x: GateInputs) -> GateOutput:
    """Features, gate and gate logit of ``ops.gated_decoder_step``.

    Up to ``FEW_ROWS`` words take two launches, the second of which starts while the first runs.
    """
    lead, dtype, call = x.context.shape[:-1], x.context.dtype, _Call.of(x)
    x = call.x
    gate, logit = x.context.new_empty(lead), x.context.new_empty(lead)
    if call.rows <= FEW_ROWS:
        features = x.context.new_empty(*lead, len(x.mixture_bias))
        call.step(features, gate, logit)
        return GateOutput(features.to(dtype), gate.to(dtype), logit.to(dtype))

    eq_9 = call.products()
    mixture_input = x.context.new_empty(call.rows, x.mixture_weight.shape[1])
    outputs = dict(mixture_input=mixture_input, gate=gate, logit=logit)
    call.run("gate_forward", inputs=call.between(eq_9), outputs=outputs)
    features = mixture_input @ x.mixture_weight.T
    rows, columns = features.shape
    task = dict(x=features, bias=x.mixture_bias, rows=rows, columns=columns)
    run(OP, "bias_tanh", x.context, call.sizes, task=task)
    return GateOutput(features.view(*lead, columns).to(dtype), gate.to(dtype), logit.to(dtype))


def gated_decoder_step_backward(grads: GateOutput, x: GateInputs, saved: Any) -> dict[str, Tensor]:
    """Gradients of the fourteen float inputs, from those of the outputs (None: not used)."""
    dtype, call = x.context.dtype, _Call.of(x)
    x = call.x
    context, hidden, top, word = (v.flatten(0, 1) for v in (x.context, x.hidden, x.top, x.word))
    features, gate = ready(saved.features).flatten(0, 1), ready(saved.gate)
    d_features, d_gate, d_gate_logit = (v if v is None else ready(v) for v in grads)
    few = call.rows <= FEW_ROWS

    d_mixture, mixture = features, Rows(d_features, features)
    if few:
        eq_9 = call.activated()
        (d_mixture_input,) = rows_products(OP, call.sizes, context, [(mixture, x.mixture_weight, None)])
    else:
        eq_9 = call.products()
        d_mixture = torch.zeros_like(features) if d_features is None else torch.empty_like(features)
        if d_features is not None:
            task = dict(grad=d_features, y=features, out=d_mixture, count=features.numel())
            run(OP, "tanh_gradient", context, call.sizes, task=task)
        d_mixture_input = d_mixture @ x.mixture_weight

    mixture_input = torch.empty_like(d_mixture_input)
    d_motion, d_language = torch.empty_like(eq_9.motion), torch.empty_like(eq_9.language)
    d_hidden, d_word, d_mixed_word = map(torch.empty_like, (x.hidden, x.word, x.mixed_word))
    d_logit = torch.empty_like(gate).flatten()
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
    call.run("gate_backward", inputs=call.between(eq_9), outputs=outputs)
    if few:
        eq_9_jobs = [(Rows(d_motion), x.context_weight, None), (Rows(d_language), x.language_weight, None)]
        d_context, d_top = rows_products(OP, call.sizes, context, eq_9_jobs)
        jobs = [
            (Rows(d_logit), 1, hidden),
            (Rows(d_logit), 1, word),
            (Rows(d_motion), d_motion.shape[1], context),
            (Rows(d_language), d_language.shape[1], top),
            (mixture, features.shape[1], mixture_input),
        ]
        (d_hidden_weight, d_bias), (d_word_weight, _), *layers = outer_products(OP, call.sizes, context, jobs)
        gate_weights = d_hidden_weight[0], d_word_weight[0], d_bias[0]
    else:
        d_context, d_top = d_motion @ x.context_weight, d_language @ x.language_weight
        pairs = ((d_motion, context), (d_language, top), (d_mixture, mixture_input))
        layers = [(d.T @ met, d.sum(0)) for d, met in pairs]
        gate_weights = d_logit @ hidden, d_logit @ word, d_logit.sum()
    (d_context_weight, d_context_bias), (d_language_weight, d_language_bias), (d_weight, d_mixture_bias) = layers
    found = dict(
        context=d_context.view(x.context.shape),
        hidden=d_hidden,
        top=d_top.view(x.top.shape),
        word=d_word,
        mixed_word=d_mixed_word,
        **dict(zip(("gate_hidden_weight", "gate_word_weight", "gate_bias"), gate_weights, strict=True)),
        context_weight=d_context_weight,
        context_bias=d_context_bias,
        language_weight=d_language_weight,
        language_bias=d_language_bias,
        mixture_weight=d_weight,
        mixture_bias=d_mixture_bias,
    )
    return {name: value.to(dtype) for name, value in found.items()}


class _Between(NamedTuple):
    """Both products of eq. 9, (N, D) each, with their biases; or what tanh made of both, without."""

    motion: Tensor
    motion_bias: Tensor | None
    language: Tensor
    language_bias: Tensor | None


class _Call(NamedTuple):
    """The gate's kernels for one call's inputs, which are as the kernels take them."""

    x: GateInputs
    sizes: dict[str, int]
    """N, H, C, E, D and M."""

    @classmethod
    def of(cls, x: GateInputs) -> _Call:
        made = converted(x, ready)
        batch, words, features = x.context.shape
        dim, mixture = len(x.context_weight), len(x.mixture_weight)
        sizes = (batch * words, features, x.hidden.shape[2], x.word.shape[2], dim, mixture)
        return cls(made, dict(zip("NHCEDM", sizes, strict=True)))

    @property
    def rows(self) -> int:
        """N, the words of all captions."""
        return self.sizes["N"]

    def run(self, kernel: str, **arguments: Any) -> None:
        """Launches a kernel."""
        n = self.sizes
        sizes = dict(
            rows=n["N"],
            features=n["H"],
            hidden=n["C"],
            word=n["E"],
            attention=n["D"],
            mixture=n["M"],
            mixture_input=n["E"] + n["D"] + n["C"],
        )
        run(OP, kernel, self.x.context, n, sizes=sizes, **arguments)

    @property
    def force_gate(self) -> float:
        """As the kernels take it."""
        return math.nan if self.x.force_gate is None else self.x.force_gate

    def step(self, features: Tensor | None, gate: Tensor | None, logit: Tensor | None) -> Tensor:
        """The whole step; without outputs only both tanh of eq. 9, (2, N, D), which it gives."""
        x = self.x
        both = x.context.new_empty(2, self.rows, len(x.context_weight))
        motion, language = both
        outputs = dict(motion=motion, language=language, features=features, gate=gate, logit=logit)
        self.run("gate_step", step={**x._asdict(), **outputs, "force_gate": self.force_gate})
        return both

    def products(self) -> _Between:
        """Eq. 9 for many rows: torch's products."""
        x = self.x
        motion, language = x.context.flatten(0, 1) @ x.context_weight.T, x.top.flatten(0, 1) @ x.language_weight.T
        return _Between(motion, x.context_bias, language, x.language_bias)

    def activated(self) -> _Between:
        """Eq. 9 for few rows: both tanh, recomputed."""
        motion, language = self.step(None, None, None)
        return _Between(motion, None, language, None)

    def between(self, eq_9: _Between) -> dict[str, Any]:
        """The inputs of the kernels between the products."""
        made = dict(
            context_product=eq_9.motion,
            context_bias=eq_9.motion_bias,
            language_product=eq_9.language,
            language_bias=eq_9.language_bias,
            force_gate=self.force_gate,
        )
        return {**self.x._asdict(), **made}
