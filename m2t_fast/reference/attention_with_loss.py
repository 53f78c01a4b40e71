"""Attention with its spatial loss and what the temporal one reads, in plain PyTorch (eq. 2-6, 8 and 13)."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import Target, Wide, converted, extended, from_fields
from m2t_fast.reference.attention import AttentionInputs, spatio_temporal_attention
from m2t_fast.reference.loss import spatial_terms

GuidedAttentionInputs = extended(
    "GuidedAttentionInputs",
    AttentionInputs,
    spatial_target=Annotated[Tensor, Target("B L P")],  # 1 or 0 per part, -1 unsupervised
)


class GuidedAttentionOutput(NamedTuple):
    """What a guided training step reads of the attention."""

    context: Annotated[Tensor, "B L H"]
    """c, eq. 8."""
    loss: Annotated[Tensor, Wide("B L")]
    """The sum of every word's binary cross entropies over valid frames and supervised parts."""
    mean: Annotated[Tensor, "B L"]
    """m of eq. 4 in frames, for the temporal loss."""
    std: Annotated[Tensor, "B L"]
    """sigma of eq. 4 in frames."""


@from_fields(GuidedAttentionInputs)
def guided_attention(x: Any) -> GuidedAttentionOutput:
    """Context, spatial loss and moments of every word, without the weights of the frames and parts (eq. 2-6, 8 and 13).

    Gives context (B, L, H); the loss (B, L) in float32 (of float64 inputs in float64); mean and std (B, L) in frames.
    """
    out = spatio_temporal_attention(*GuidedAttentionInputs.of(x))
    loss = spatial_terms(weights_with_logarithms(x, out.spatial), x.spatial_target, x.lengths).sum(dim=(2, 3))
    return GuidedAttentionOutput(out.context, loss, out.mean, out.std)


def weights_with_logarithms(x: Any, spatial: Tensor) -> Tensor:
    """alpha as the loss reads it, at least in float32. From float16 inputs it is recomputed: in float16 a weight below
    6e-8 is 0 and would count as underflowed (-100) where its logarithm is -17, with a gradient of NaN."""
    if spatial.dtype is not torch.float16:
        return spatial.to(torch.promote_types(spatial.dtype, torch.float32))
    exact = converted(GuidedAttentionInputs.of(x), lambda v: v.float() if v.is_floating_point() else v)
    return spatio_temporal_attention(*exact).spatial
