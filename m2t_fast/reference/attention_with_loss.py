"""Attention with its spatial loss, in plain PyTorch (eq. 2-6, 8 and 13)."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import Target, Wide, extended, from_fields
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


@from_fields(GuidedAttentionInputs)
def guided_attention(x: Any) -> GuidedAttentionOutput:
    """Context and spatial loss of every word, without the weights of the frames and parts (eq. 2-6, 8 and 13).

    Gives context (B, L, H), and (B, L) in float32 (of float64 inputs in float64).
    """
    out = spatio_temporal_attention(*GuidedAttentionInputs.of(x))
    wide = out.spatial.to(torch.promote_types(out.spatial.dtype, torch.float32))
    return GuidedAttentionOutput(out.context, spatial_terms(wide, x.spatial_target, x.lengths).sum(dim=(2, 3)))
