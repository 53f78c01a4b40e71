"""Spatio-temporal Gaussian attention in plain PyTorch, equation by equation (eq. 2-6 and 8)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from m2t_fast.config import SIGMA_MIN
from m2t_fast.records import Index, Kind, Sizes, from_fields
from m2t_fast.reference.encoder import valid_frames


class AttentionInputs(NamedTuple):
    """What the attention reads: B motions, L words of each."""

    parts: Annotated[Tensor, "B T P H"]
    """Body-part features P_ik."""
    temporal_keys: Annotated[Tensor, "B T S D"]
    """W_p P (eq. 2): S = 1, one key per frame, or S = P, one per part and frame."""
    spatial_keys: Annotated[Tensor, "B T S D"]
    """W_ps P (eq. 5)."""
    temporal_query: Annotated[Tensor, "B L D"]
    """W_h h, one row per word."""
    spatial_query: Annotated[Tensor, "B L D"]
    """W_hs h."""
    temporal_weight: Annotated[Tensor, "D"]
    """w_h."""
    spatial_weight: Annotated[Tensor, "R D"]
    """One row per score of a key: R = P with one key per frame, R = 1 with one per part."""
    spatial_bias: Annotated[Tensor, "R"]
    """Added to the scores; with S = P it cancels in the softmax."""
    lengths: Annotated[Tensor, Index("B", 1, "T")]
    """Valid frames."""
    scale: float = 1.0
    """rho of eq. 8: 1 (paper) or 1/P (released weights)."""

    @staticmethod
    def derive(letter: str, n: Sizes) -> int:
        """R from S and P."""
        if letter != "R":
            raise KeyError(letter)
        if n["S"] not in (1, n["P"]):
            raise ValueError(f"temporal_keys has S={n['S']} keys per frame, expected 1 or P={n['P']}")
        return n["P"] if n["S"] == 1 else 1


class AttentionOutput(NamedTuple):
    """What the attention gives for every word: the context vector and the weights it was made with."""

    context: Annotated[Tensor, "B L H"]
    """c, eq. 8."""
    window: Annotated[Tensor, "B L T"]
    """Gaussian window Gamma, eq. 4; 0 beyond a motion's length."""
    spatial: Annotated[Tensor, "B L T P"]
    """alpha, eq. 6; sums to 1 over the parts, 0 beyond a motion's length."""
    mean: Annotated[Tensor, "B L"]
    """m, centre of the window in frames."""
    std: Annotated[Tensor, "B L"]
    """sigma, width of the window in frames, at least SIGMA_MIN."""


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


@from_fields(AttentionInputs)
def spatio_temporal_attention(x: AttentionInputs) -> AttentionOutput:
    """When and where to look for every word, and what is seen there (eq. 2-6 and 8).

    Gives context (B, L, H), window (B, L, T), spatial (B, L, T, P), mean and std (B, L) in frames.
    """
    mask = valid_frames(x.lengths, x.parts.shape[1])
    # Padding may hold anything, NaN included; nothing of it may reach a result or a gradient.
    parts, temporal_keys, spatial_keys = (
        torch.where(mask[:, :, None, None], padded, 0) for padded in (x.parts, x.temporal_keys, x.spatial_keys)
    )
    window, mean, std = gaussian_window(temporal_scores(temporal_keys, x.temporal_query, x.temporal_weight), mask)
    # (B, L, T, S, R) holds P scores per frame either way: S = 1 key with R = P rows, or S = P keys with R = 1 row.
    scores = additive_scores(spatial_keys, x.spatial_query, x.spatial_weight) + x.spatial_bias
    spatial = spatial_weights(scores.flatten(3), mask)
    window, mean, std = (moment.to(parts.dtype) for moment in (window, mean, std))
    weights = (window[..., None] * spatial).flatten(2)
    context = x.scale * (weights @ parts.flatten(1, 2))
    return AttentionOutput(context, window, spatial, mean, std)


@from_fields(AttentionInputs)
def spatio_temporal_context(x: AttentionInputs) -> Annotated[Tensor, Kind("B L H", "context")]:
    """The context of :func:`spatio_temporal_attention` alone: what a step of a search reads."""
    return spatio_temporal_attention(*x).context


class KeysInputs(NamedTuple):
    """Weights of the keys' layers, and the parts that they read."""

    parts: Annotated[Tensor, "B T P H"]
    """Body-part features."""
    lengths: Annotated[Tensor, Index("B", 1, "T")]
    """Valid frames."""
    temporal_weight: Annotated[Tensor, "D I"]
    """I = H for one key per part (S = P), P*H for one per frame (S = 1): its parts one after the other."""
    temporal_bias: Annotated[Tensor, "D"]
    spatial_weight: Annotated[Tensor, "D I"]
    spatial_bias: Annotated[Tensor, "D"]


class KeysOutput(NamedTuple):
    """The attention's keys, S = 1 or P of every frame; 0 beyond a length."""

    temporal_keys: Annotated[Tensor, "B T P*H//I D"]
    spatial_keys: Annotated[Tensor, "B T P*H//I D"]


@from_fields(KeysInputs)
def attention_keys(x: KeysInputs) -> KeysOutput:
    """Temporal and spatial keys of eq. 2 and 5, whatever the words."""
    mask = valid_frames(x.lengths, x.parts.shape[1])[:, :, None, None]
    inputs = x.temporal_weight.shape[1]
    per_key = torch.where(mask, x.parts, 0).flatten(2).unflatten(2, (-1, inputs))
    temporal = per_key @ x.temporal_weight.T + x.temporal_bias
    spatial = per_key @ x.spatial_weight.T + x.spatial_bias
    return KeysOutput(torch.where(mask, temporal, 0), torch.where(mask, spatial, 0))
