"""Launches ``guided_attention`` and its gradient: no weight of a frame or part leaves the kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.kept_scores import Scores
from m2t_fast.ops.triton.attention import launch_backward, launch_forward, short
from m2t_fast.ops.triton.launch import ready, stored
from m2t_fast.records import partial
from m2t_fast.reference.attention import AttentionOutput
from m2t_fast.reference.attention_with_loss import GuidedAttentionInputs, GuidedAttentionOutput


def guided_attention_keeps(x: Any) -> bool:
    """Both scores: a number or three for each word, frame and part, where there are any."""
    return x.temporal_query.shape[0] * x.temporal_query.shape[1] > 0


def guided_attention(x: Any, keep: bool = False) -> Any:
    """Context, spatial loss, mean and std of ``ops.guided_attention``; with ``keep`` and them both scores."""
    context = x.parts.new_empty(x.parts.shape[0], x.temporal_query.shape[1], x.parts.shape[3], dtype=stored(x.parts))
    loss = x.parts.new_empty(context.shape[:2], dtype=torch.float32)
    mean, std = torch.empty_like(loss, dtype=context.dtype), torch.empty_like(loss, dtype=context.dtype)
    outputs = partial(AttentionOutput, context=context, mean=mean, std=std)
    scores = launch_forward(GuidedAttentionInputs.of(x), outputs, x.spatial_target, loss)
    context, mean, std = (value.to(x.parts.dtype) for value in (context, mean, std))
    found = GuidedAttentionOutput(context, loss, mean, std)
    return (found, scores.keep(x.parts.shape[1])) if keep and scores is not None else found


def guided_attention_backward(grads: GuidedAttentionOutput, x: Any, kept: Any = None) -> dict[str, Tensor]:
    """Gradients of the eight float inputs, from those of the outputs (None: the output was not used)."""
    every = partial(AttentionOutput, context=grads.context, mean=grads.mean, std=grads.std)
    scores = Scores.kept(kept, exact=not short(ready(x.temporal_keys)))
    return launch_backward(every, GuidedAttentionInputs.of(x), x.spatial_target, grads.loss, scores)
