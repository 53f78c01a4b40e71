"""The op ``guided_attention``: attention for a guided training step, which reads context, spatial loss and moments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast import records, reference
from m2t_fast.ops import registry
from m2t_fast.ops.checks import wide
from m2t_fast.ops.define import define
from m2t_fast.records import Wide
from m2t_fast.reference.attention import AttentionOutput
from m2t_fast.reference.attention_with_loss import GuidedAttentionInputs, GuidedAttentionOutput
from m2t_fast.reference.loss import spatial_terms, spatial_terms_gradient

ATTENTION = "spatio_temporal_attention"


def _attention_then_loss(backend: str, x: Any) -> GuidedAttentionOutput:
    """For backends without a kernel for both: their attention, then the loss of its output."""
    out = registry.call(ATTENTION, backend, GuidedAttentionInputs.of(x))
    spatial = out.spatial
    if spatial.dtype is torch.float16:  # where a weight below 6e-8 is 0, and has no logarithm
        spatial = registry.call(ATTENTION, backend, _exact(x)).spatial
    loss = spatial_terms(wide(spatial), x.spatial_target, x.lengths).sum(dim=(2, 3))
    return GuidedAttentionOutput(out.context, loss, out.mean, out.std)


def _backward(backend: str, grads: GuidedAttentionOutput, x: Any, kept: Any) -> dict[str, Tensor]:
    # 1 / alpha meets alpha again in the softmax's gradient: a short format would have rounded it in between.
    exact = _exact(x)
    d_spatial = None
    if grads.loss is not None:
        out = registry.call(ATTENTION, backend, exact)
        d_spatial = spatial_terms_gradient(out.spatial, x.spatial_target, x.lengths) * grads.loss[:, :, None, None]
    d_context, d_mean, d_std = (None if g is None else wide(g) for g in (grads.context, grads.mean, grads.std))
    given = records.partial(AttentionOutput, context=d_context, spatial=d_spatial, mean=d_mean, std=d_std)
    found = registry.call_backward(ATTENTION, backend, given, exact, registry.OPS[ATTENTION].nothing_saved)
    return {name: grad.to(x.parts.dtype) for name, grad in found.items()}


def _exact(x: Any) -> Any:
    """The attention's inputs, at least in float32."""
    return records.converted(GuidedAttentionInputs.of(x), lambda v: wide(v) if v.is_floating_point() else v)


guided_attention = define(
    reference.guided_attention,
    file="attention_with_loss",
    # Scores before their softmaxes, what is to be added to the temporal ones in float32, and the spatial ones.
    keeps={"temporal": Wide("B L T S"), "rest": Wide("B L T S"), "scores": Wide("B L T P")},
    otherwise=_attention_then_loss,
    otherwise_backward=_backward,
    made_of=[ATTENTION],
)
