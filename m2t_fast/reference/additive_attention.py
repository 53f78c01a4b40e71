"""Additive (Bahdanau) attention in plain PyTorch: eq. 2 by itself, for any sequence."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import Index, from_fields
from m2t_fast.reference.attention import temporal_scores
from m2t_fast.reference.encoder import valid_frames


class AdditiveInputs(NamedTuple):
    """What the attention reads: B sequences of T keys, L queries of each."""

    query: Annotated[Tensor, "B L D"]
    keys: Annotated[Tensor, "B T D"]
    values: Annotated[Tensor, "B T H"]
    weight: Annotated[Tensor, "D"]
    lengths: Annotated[Tensor, Index("B", 1, "T")]
    """Valid keys."""


class AdditiveOutput(NamedTuple):
    """What the attention gives for every query."""

    context: Annotated[Tensor, "B L H"]
    """The values' sum with the weights."""
    weights: Annotated[Tensor, "B L T"]
    """Of the keys, 0 beyond a sequence's length; they sum to 1."""


@from_fields(AdditiveInputs)
def additive_attention(x: AdditiveInputs) -> AdditiveOutput:
    """Softmax over the valid keys of weight . tanh(key + query), and the values' sum with these weights.

    Gives context (B, L, H) and weights (B, L, T).
    """
    mask = valid_frames(x.lengths, x.keys.shape[1])
    # Padding may hold anything, NaN included; nothing of it may reach a result or a gradient.
    keys, values = (torch.where(mask[..., None], padded, 0) for padded in (x.keys, x.values))
    scores = temporal_scores(keys[:, :, None], x.query, x.weight).squeeze(-1)
    weights = torch.softmax(scores.masked_fill(~mask[:, None], -torch.inf), dim=-1)
    return AdditiveOutput(weights @ values, weights)
