"""Backend ``triton``: GPU kernels written in Python (kernels/). float64 and the part encoder run on ``reference``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.backends import reference
from m2t_fast.ops.triton.launch import why_unavailable

__all__ = ["why_unavailable"]


def _or_reference(kernel: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """``kernel``, and ``plain`` for float64: the kernels compute in float32."""

    @functools.wraps(kernel)
    def run(*arguments: Any) -> Any:
        double = any((x.dtype if isinstance(x, Tensor) else x) is torch.float64 for x in arguments)
        return (plain if double else kernel)(*arguments)

    return run


if why_unavailable() is None:  # elsewhere the kernels cannot even be imported
    from m2t_fast.ops.triton import attention, draws, gate, gather

    spatio_temporal_attention = _or_reference(attention.spatio_temporal_attention, reference.spatio_temporal_attention)
    spatio_temporal_attention_backward = _or_reference(
        attention.spatio_temporal_attention_backward, reference.spatio_temporal_attention_backward
    )
    spatio_temporal_context = _or_reference(
        attention.spatio_temporal_context, lambda *arguments: reference.spatio_temporal_attention(*arguments)[0]
    )
    gated_decoder_step = _or_reference(gate.gated_decoder_step, reference.gated_decoder_step)
    gated_decoder_step_backward = _or_reference(gate.gated_decoder_step_backward, reference.gated_decoder_step_backward)
    random_draws = _or_reference(draws.random_draws, reference.random_draws)
    gather_motions = _or_reference(gather.gather_motions, reference.gather_motions)
    guided_attention, guided_attention_backward = attention.guided_attention, attention.guided_attention_backward
    guided_decoder_step, guided_decoder_step_backward = gate.guided_decoder_step, gate.guided_decoder_step_backward
    __all__ += [
        "gated_decoder_step",
        "gated_decoder_step_backward",
        "gather_motions",
        "guided_attention",
        "guided_attention_backward",
        "guided_decoder_step",
        "guided_decoder_step_backward",
        "random_draws",
        "spatio_temporal_attention",
        "spatio_temporal_attention_backward",
        "spatio_temporal_context",
    ]
