"""Spatio-temporal Gaussian attention in plain PyTorch, equation by equation (eq. 2-6 and 8)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from m2t_fast.config import SIGMA_MIN
from m2t_fast.reference.encoder import valid_frames


class AttentionOutput(NamedTuple):
    """What the attention gives for every word: the context vector and the weights it was made with."""

    context: Tensor
    """(B, L, H): c, eq. 8."""
    window: Tensor
    """(B, L, T): Gaussian window Gamma, eq. 4; 0 beyond a motion's length."""
    spatial: Tensor
    """(B, L, T, P): alpha, eq. 6; sums to 1 over the parts, 0 beyond a motion's length."""
    mean: Tensor
    """(B, L): m, centre of the window in frames."""
    std: Tensor
    """(B, L): sigma, width of the window in frames, at least SIGMA_MIN."""


def additive_scores(keys: Tensor, query: Tensor, weight: Tensor) -> Tensor:
    """w . tanh(key + query) for every word and key slot: the scores of eq. 2 and 5.

    Args:
        keys: (B, T, S, D); query: (B, L, D); weight: (R, D), one row per score.

    Returns:
        (B, L, T, S, R).
    """
    return torch.tanh(keys[:, None] + query[:, :, None, None]) @ weight.T


def temporal_scores(keys: Tensor, query: Tensor, weight: Tensor) -> Tensor:
    """z of eq. 2, (B, L, T, S), from keys (B, T, S, D), query (B, L, D) and weight (D,)."""
    return additive_scores(keys, query, weight[None]).squeeze(-1)


def gaussian_window(scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 3 and 4: softmax over all valid (part, frame) pairs, its first two moments, and their Gaussian.

    Args:
        scores: (B, L, T, S); mask: (B, T) bool.

    Returns:
        window (B, L, T), mean (B, L), std (B, L), in float32 at least: the moments of a long motion do not fit
        a shorter format.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores.masked_fill(~mask[:, None, :, None], -torch.inf)
    gamma = torch.softmax(scores.flatten(2), dim=-1).view_as(scores).sum(dim=-1)
    frame = torch.arange(scores.shape[2], dtype=scores.dtype, device=scores.device)
    mean = (frame * gamma).sum(dim=-1)
    offset = frame - mean[..., None]
    variance = (offset.square() * gamma).sum(dim=-1)
    std = variance.clamp(min=SIGMA_MIN**2).sqrt()
    window = torch.exp(-0.5 * (offset / std[..., None]).square())
    return torch.where(mask[:, None], window, 0), mean, std


def spatial_weights(scores: Tensor, mask: Tensor) -> Tensor:
    """Eq. 6: softmax of scores (B, L, T, P) over the parts; 0 where mask (B, T) is False."""
    return torch.where(mask[:, None, :, None], torch.softmax(scores, dim=-1), 0)


def spatio_temporal_attention(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    scale: float = 1.0,
) -> AttentionOutput:
    """When and where to look for every word, and what is seen there (eq. 2-6 and 8).

    Args:
        parts: (B, T, P, H) body-part features P_ik.
        temporal_keys: (B, T, S, D) W_p P (eq. 2); spatial_keys: (B, T, S, D) W_ps P (eq. 5).
        temporal_query: (B, L, D) W_h h; spatial_query: (B, L, D) W_hs h.
        temporal_weight: (D,) w_h.
        spatial_weight: (P, D) when S = 1, (1, D) when S = P; spatial_bias: (P,) or (1,), added to the scores.
        lengths: (B,) int64 valid frames, 1 <= length <= T.
        scale: rho, 1 (paper) or 1/P (released weights).

    Returns:
        :class:`AttentionOutput` in the dtype of ``parts``, differentiable in every float input.
    """
    mask = valid_frames(lengths, parts.shape[1])
    # Padding may hold anything, NaN included; nothing of it may reach a result or a gradient.
    parts, temporal_keys, spatial_keys = (
        torch.where(mask[:, :, None, None], x, 0) for x in (parts, temporal_keys, spatial_keys)
    )
    window, mean, std = gaussian_window(temporal_scores(temporal_keys, temporal_query, temporal_weight), mask)
    # (B, L, T, S, R) holds P scores a frame either way: S = 1 key with R = P rows, or S = P keys with R = 1 row.
    scores = additive_scores(spatial_keys, spatial_query, spatial_weight) + spatial_bias
    spatial = spatial_weights(scores.flatten(3), mask)
    window, mean, std = (x.to(parts.dtype) for x in (window, mean, std))
    weights = (window[..., None] * spatial).flatten(2)
    context = scale * (weights @ parts.flatten(1, 2))
    return AttentionOutput(context, window, spatial, mean, std)


def attention_keys(
    parts: Tensor,
    lengths: Tensor,
    temporal_weight: Tensor,
    temporal_bias: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Temporal and spatial keys (B, T, S, D) of eq. 2 and 5, whatever the words; 0 beyond a length.

    Args:
        parts: (B, T, P, H) body-part features; lengths: (B,) int64 valid frames.
        temporal_weight, spatial_weight: (D, H) for a key a part (S = P), (D, P*H) for a key a frame (S = 1), whose
            input is the frame's parts one after the other. temporal_bias, spatial_bias: (D,).
    """
    mask = valid_frames(lengths, parts.shape[1])[:, :, None, None]
    inputs = temporal_weight.shape[1]
    per_key = torch.where(mask, parts, 0).flatten(2).unflatten(2, (-1, inputs))
    temporal = per_key @ temporal_weight.T + temporal_bias
    spatial = per_key @ spatial_weight.T + spatial_bias
    return torch.where(mask, temporal, 0), torch.where(mask, spatial, 0)
