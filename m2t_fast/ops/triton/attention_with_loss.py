"""Launches ``guided_attention`` and its gradient: no weight of a frame or part leaves the kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.triton.attention import launch_backward, launch_forward
from m2t_fast.ops.triton.launch import stored
from m2t_fast.records import partial
from m2t_fast.reference.attention import AttentionOutput
from m2t_fast.reference.attention_with_loss import GuidedAttentionInputs, GuidedAttentionOutput


def guided_attention(x: Any) -> GuidedAttentionOutput:
    """Context and spatial loss of ``ops.guided_attention``."""
    context = x.parts.new_empty(x.parts.shape[0], x.temporal_query.shape[1], x.parts.shape[3], dtype=stored(x.parts))
    loss = x.parts.new_empty(context.shape[:2], dtype=torch.float32)
    launch_forward(GuidedAttentionInputs.of(x), partial(AttentionOutput, context=context), x.spatial_target, loss)
    return GuidedAttentionOutput(context.to(x.parts.dtype), loss)


def guided_attention_backward(grads: GuidedAttentionOutput, x: Any) -> dict[str, Tensor]:
    """Gradients of the eight float inputs, from those of context and loss (None: the output was not used)."""
    every = partial(AttentionOutput, context=grads.context)
    return launch_backward(every, GuidedAttentionInputs.of(x), x.spatial_target, grads.loss)
