"""Attention with its spatial loss in plain PyTorch (eq. 2-6, 8 and 13)."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.reference.attention import spatio_temporal_attention
from m2t_fast.reference.loss import spatial_terms


def guided_attention(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    spatial_target: Tensor,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """What a guided training step reads of the attention: the context, and the spatial loss of every word.

    Args:
        spatial_target: (B, L, P): 1 or 0 a part, -1 unsupervised. The others as in ``spatio_temporal_attention``.

    Returns:
        context (B, L, H), and (B, L) in float32 at least the sums of :func:`spatial_terms` over frames and parts.
    """
    out = spatio_temporal_attention(
        parts,
        temporal_keys,
        spatial_keys,
        temporal_query,
        spatial_query,
        temporal_weight,
        spatial_weight,
        spatial_bias,
        lengths,
        scale,
    )
    wide = out.spatial.to(torch.promote_types(out.spatial.dtype, torch.float32))
    return out.context, spatial_terms(wide, spatial_target, lengths).sum(dim=(2, 3))
