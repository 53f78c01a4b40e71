"""Attention in slices of words, so that no tensor of all words x frames x attention size is ever held.

Moving such a tensor through memory takes longer than computing it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.config import SIGMA_MIN
from m2t_fast.ops.reference import in_float32
from m2t_fast.reference.attention import (
    AttentionInputs,
    AttentionOutput,
    additive_scores,
    spatial_weights,
    temporal_scores,
)
from m2t_fast.reference.encoder import valid_frames

SLICE_ELEMENTS = 1 << 21
"""Elements of the largest temporary of attention; 8 MiB in float32."""


def _word_slices(temporal_keys: Tensor, words: int) -> Iterator[slice]:
    step = max(1, SLICE_ELEMENTS // max(1, temporal_keys.numel()))
    return (slice(first, first + step) for first in range(0, words, step))


def spatio_temporal_attention(x: AttentionInputs) -> AttentionOutput:
    """``reference.spatio_temporal_attention``, slice of words by slice."""
    slices = _word_slices(x.temporal_keys, max(1, x.temporal_query.shape[1]))
    queries = ((x.temporal_query[:, words], x.spatial_query[:, words]) for words in slices)
    outputs = [reference.spatio_temporal_attention(*x._replace(temporal_query=t, spatial_query=s)) for t, s in queries]
    # clone: an op may not return a view of its input, and a single slice would
    columns = zip(*outputs, strict=True)
    return AttentionOutput(*(torch.cat(c, dim=1) if len(c) > 1 else c[0].clone() for c in columns))


@in_float32
def spatio_temporal_attention_backward(grads: AttentionOutput, x: AttentionInputs, kept: Any) -> dict[str, Tensor]:
    """Gradients of the eight float inputs, from those of the outputs (None: the output was not used)."""
    temporal_query, spatial_query, scale = x.temporal_query, x.spatial_query, x.scale
    temporal_weight, spatial_weight, spatial_bias = x.temporal_weight, x.spatial_weight, x.spatial_bias
    mask = valid_frames(x.lengths, x.parts.shape[1])
    parts, temporal_keys, spatial_keys = (
        torch.where(mask[:, :, None, None], padded, 0) for padded in (x.parts, x.temporal_keys, x.spatial_keys)
    )
    d_parts, d_temporal_keys, d_spatial_keys = map(torch.zeros_like, (parts, temporal_keys, spatial_keys))
    d_weight, d_spatial_weight, d_bias = map(torch.zeros_like, (temporal_weight, spatial_weight, spatial_bias))
    d_temporal_query, d_spatial_query = map(torch.zeros_like, (temporal_query, spatial_query))
    for words in _word_slices(temporal_keys, temporal_query.shape[1]):
        d_context, d_window, d_spatial, d_mean, d_std = (g if g is None else g[:, words] for g in grads)

        # The forward pass again, keeping both tanh of this slice.
        z = temporal_scores(temporal_keys, temporal_query[:, words], temporal_weight)
        z = z.masked_fill(~mask[:, None, :, None], -torch.inf)
        gamma = torch.softmax(z.flatten(2), dim=-1).view_as(z)
        frame = torch.arange(parts.shape[1], dtype=z.dtype, device=z.device)
        m = (frame * gamma.sum(-1)).sum(-1, keepdim=True)
        offset = frame - m
        variance = (offset.square() * gamma.sum(-1)).sum(-1, keepdim=True)
        sigma = variance.clamp(min=SIGMA_MIN**2).sqrt()
        u = offset / sigma
        window = torch.where(mask[:, None], torch.exp(-0.5 * u.square()), 0)
        s = additive_scores(spatial_keys, spatial_query[:, words], spatial_weight) + spatial_bias
        alpha = spatial_weights(s.flatten(3), mask)

        # Eq. 8: context.
        dg = torch.zeros_like(window) if d_window is None else d_window
        da = torch.zeros_like(alpha) if d_spatial is None else d_spatial
        if d_context is not None:
            weights = (window[..., None] * alpha).flatten(2)
            d_parts += scale * (weights.transpose(1, 2) @ d_context).view_as(parts)
            d_weights = (scale * (d_context @ parts.flatten(1, 2).transpose(1, 2))).view_as(alpha)
            dg = dg + (d_weights * alpha).sum(-1)
            da = da + d_weights * window[..., None]

        # Eq. 4 and 3: window, moments, softmax. The moments' gradient is centred, so that it sums to 0 over gamma.
        dg = dg * window
        dm = (dg * u).sum(-1, keepdim=True) / sigma
        ds = (dg * u.square()).sum(-1, keepdim=True) / sigma
        dm = dm if d_mean is None else dm + d_mean[..., None]
        ds = ds if d_std is None else ds + d_std[..., None]
        d_variance = torch.where(variance >= SIGMA_MIN**2, ds / (2 * sigma), 0)
        d_frame = offset * dm + (offset.square() - variance) * d_variance
        dz = gamma * d_frame[..., None]
        grad = _additive_backward(dz[..., None], temporal_keys, temporal_query[:, words], temporal_weight[None])
        d_temporal_keys += grad[0]
        d_temporal_query[:, words] = grad[1]
        d_weight += grad[2][0]

        # Eq. 6 and 5: softmax over the parts.
        d_scores = alpha * (da - (da * alpha).sum(-1, keepdim=True))
        d_scores = d_scores.view_as(s)
        grad = _additive_backward(d_scores, spatial_keys, spatial_query[:, words], spatial_weight)
        d_spatial_keys += grad[0]
        d_spatial_query[:, words] = grad[1]
        d_spatial_weight += grad[2]
        d_bias += d_scores.sum(dim=(0, 1, 2, 3))
    return dict(
        parts=d_parts,
        temporal_keys=d_temporal_keys,
        spatial_keys=d_spatial_keys,
        temporal_query=d_temporal_query,
        spatial_query=d_spatial_query,
        temporal_weight=d_weight,
        spatial_weight=d_spatial_weight,
        spatial_bias=d_bias,
    )


def _additive_backward(d_scores: Tensor, keys: Tensor, query: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``additive_scores``: keys (B, T, S, D), query (B, L, D), weight (R, D)."""
    tanh = torch.tanh(keys[:, None] + query[:, :, None, None])
    d_weight = d_scores.flatten(0, -2).T @ tanh.flatten(0, -2)
    d_sum = (d_scores @ weight) * (1 - tanh.square())
    return d_sum.sum(dim=1), d_sum.sum(dim=(2, 3)), d_weight
