"""Launches the gated decoder step and its gradient: the products are torch's, what lies between them is one kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.kernels.gate import bias_tanh, gate_backward, gate_forward, tanh_gradient
from m2t_fast.ops.triton.launch import configuration, float_target, on_device, power_of_2, ready
from m2t_fast.records import converted
from m2t_fast.reference.gate import GateInputs, GateOutput


def gated_decoder_step(x: GateInputs) -> GateOutput:
    """Features, gate and gate logit of ``ops.gated_decoder_step``."""
    return launch_forward(x)


def gated_decoder_step_backward(grads: GateOutput, x: GateInputs, saved: Any) -> dict[str, Tensor]:
    """Gradients of the fourteen float inputs, from those of the outputs (None: not used)."""
    return launch_backward(grads, x, saved)


def launch_forward(x: GateInputs, target: Tensor | None = None, loss: Tensor | None = None) -> GateOutput:
    """The outputs; the adaptive loss against the targets goes to ``loss``."""
    lead, dtype, x = x.context.shape[:-1], x.context.dtype, converted(x, ready)
    motion, language = _products(x)
    mixture_input = x.context.new_empty(len(motion), x.mixture_weight.shape[1])
    gate, logit = x.context.new_empty(lead), x.context.new_empty(lead)
    if not len(motion):
        features = x.context.new_empty(*lead, len(x.mixture_bias), dtype=dtype)
        return GateOutput(features, gate.to(dtype), logit.to(dtype))
    with on_device(x.context):
        blocks = gate_blocks("gate_forward", x.hidden, x.word, motion)
        gate_forward[(-(-len(motion) // blocks["BLOCK_N"]),)](
            x.hidden,
            x.word,
            x.mixed_word,
            x.gate_hidden_weight,
            x.gate_word_weight,
            x.gate_bias,
            motion,
            x.context_bias,
            language,
            x.language_bias,
            float_target(target),
            mixture_input,
            gate,
            logit,
            loss,
            0.0 if x.force_gate is None else x.force_gate,
            len(motion),
            FORCED=x.force_gate is not None,
            **blocks,
        )
        product = mixture_input @ x.mixture_weight.T
        features = torch.empty_like(product)
        options = configuration("bias_tanh", product)
        bias_tanh[(-(-product.numel() // options["BLOCK"]),)](
            product,
            x.mixture_bias,
            features,
            product.numel(),
            M=len(x.mixture_bias),
            **options,
        )
    return GateOutput(features.view(*lead, -1).to(dtype), gate.to(dtype), logit.to(dtype))


def launch_backward(
    grads: GateOutput, x: GateInputs, saved: Any, target: Tensor | None = None, d_loss: Tensor | None = None
) -> dict[str, Tensor]:
    """Gradients of the fourteen float inputs, from those of the outputs and of the adaptive loss (None: not used)."""
    dtype, x = x.context.dtype, converted(x, ready)
    features, gate = ready(saved.features).flatten(0, 1), ready(saved.gate)
    d_features, d_gate, d_gate_logit = (v if v is None else ready(v) for v in grads)
    if d_loss is None:
        logit = goal = None
    else:
        logit, goal, d_loss = ready(saved.gate_logit), float_target(target), d_loss.float().contiguous()
    context, hidden, top, word = (v.flatten(0, 1) for v in (x.context, x.hidden, x.top, x.word))
    motion, language = _products(x)
    d_mixture = torch.zeros_like(features) if d_features is None else torch.empty_like(features)
    d_motion, d_language = torch.empty_like(motion), torch.empty_like(language)
    d_hidden, d_word, d_mixed_word, d_logit = map(torch.empty_like, (x.hidden, x.word, x.mixed_word, gate))
    with on_device(x.context):
        if d_features is not None and features.numel():
            options = configuration("tanh_gradient", features)
            tanh_gradient[(-(-features.numel() // options["BLOCK"]),)](
                d_features, features, d_mixture, features.numel(), **options
            )
        d_mixture_input = d_mixture @ x.mixture_weight
        mixture_input = torch.empty_like(d_mixture_input)
        if len(motion):
            blocks = gate_blocks("gate_backward", x.hidden, x.word, motion)
            gate_backward[(-(-len(motion) // blocks["BLOCK_N"]),)](
                x.hidden,
                x.mixed_word,
                x.gate_hidden_weight,
                x.gate_word_weight,
                motion,
                x.context_bias,
                language,
                x.language_bias,
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
                FORCED=x.force_gate is not None,
                **blocks,
            )
        along = d_logit.flatten()
        found = dict(
            context=(d_motion @ x.context_weight).view(x.context.shape),
            hidden=d_hidden,
            top=(d_language @ x.language_weight).view(x.top.shape),
            word=d_word,
            mixed_word=d_mixed_word,
            gate_hidden_weight=along @ hidden,
            gate_word_weight=along @ word,
            gate_bias=along.sum(),
            context_weight=d_motion.T @ context,
            context_bias=d_motion.sum(0),
            language_weight=d_language.T @ top,
            language_bias=d_language.sum(0),
            mixture_weight=d_mixture.T @ mixture_input,
            mixture_bias=d_mixture.sum(0),
        )
    return {name: value.to(dtype) for name, value in found.items()}


def _products(x: GateInputs) -> tuple[Tensor, Tensor]:
    """W_c c and W_r hbar of eq. 9, (N, D) each for the N words of all captions."""
    return x.context.flatten(0, 1) @ x.context_weight.T, x.top.flatten(0, 1) @ x.language_weight.T


def gate_blocks(kernel: str, hidden: Tensor, word: Tensor, attention: Tensor) -> dict[str, Any]:
    """Compile-time sizes and launch options of the gate's kernels."""
    sizes = {"C": hidden.shape[-1], "E": word.shape[-1], "D": attention.shape[-1]}
    blocks = configuration(kernel, attention)
    return {
        **blocks,
        **sizes,
        "BLOCK_C": min(blocks["BLOCK_C"], power_of_2(max(sizes.values()))),
    }
