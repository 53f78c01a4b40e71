"""Attention and gated step, each with its guided loss, in plain PyTorch (eq. 2-9, 12 and 13)."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.reference.attention import spatio_temporal_attention
from m2t_fast.reference.gate import gated_decoder_step
from m2t_fast.reference.loss import adaptive_terms, spatial_terms


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


def guided_decoder_step(
    context: Tensor,
    hidden: Tensor,
    top: Tensor,
    word: Tensor,
    mixed_word: Tensor,
    gate_hidden_weight: Tensor,
    gate_word_weight: Tensor,
    gate_bias: Tensor,
    context_weight: Tensor,
    context_bias: Tensor,
    language_weight: Tensor,
    language_bias: Tensor,
    mixture_weight: Tensor,
    mixture_bias: Tensor,
    gate_target: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gated step of a guided training step, with the adaptive loss of every word.

    Args:
        gate_target: (...): 1 motion word, 0 other word, -1 unsupervised. The others as in ``gated_decoder_step``.

    Returns:
        features, gate and gate logit as there, and (...) in float32 at least :func:`adaptive_terms` of the logit.
    """
    out = gated_decoder_step(
        context,
        hidden,
        top,
        word,
        mixed_word,
        gate_hidden_weight,
        gate_word_weight,
        gate_bias,
        context_weight,
        context_bias,
        language_weight,
        language_bias,
        mixture_weight,
        mixture_bias,
    )
    wide = out.gate_logit.to(torch.promote_types(out.gate_logit.dtype, torch.float32))
    return *out, adaptive_terms(wide, gate_target)
