"""The attention behind finished captions: one parallel pass over the best hypothesis of every motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from m2t_fast.config import EOS, SOS
from m2t_fast.decoding.result import GeneratedAttention, Generation

if TYPE_CHECKING:
    from m2t_fast.captioner import Captioner, Memory


def caption_lengths(tokens: Tensor) -> Tensor:
    """Words of each caption, <eos> included: tokens (..., W) -> (...) int64. A caption without <eos> fills W."""
    ended = (tokens == EOS).int()
    position = ended.argmax(-1) + 1
    return torch.where(ended.any(-1), position, tokens.shape[-1])


def with_attention(
    model: Captioner, memory: Memory, tokens: Tensor, scores: Tensor, force_gate: float | None
) -> Generation:
    """Complete a search's tokens (B, K, W) and scores (B, K) with the attention of hypothesis 0."""
    best = tokens[:, 0]
    previous = torch.cat([torch.full_like(best[:, :1], SOS), best[:, :-1]], dim=1)
    out = model.decode(memory, previous, force_gate=force_gate)
    inside = torch.arange(best.shape[1], device=best.device) < caption_lengths(best)[:, None]
    attention = GeneratedAttention(
        gate=torch.where(inside, out.gate, 0),
        window=torch.where(inside[..., None], out.window, 0),
        spatial=torch.where(inside[..., None, None], out.spatial, 0),
        mean=torch.where(inside, out.mean, 0),
        std=torch.where(inside, out.std, 0),
    )
    return Generation(tokens, scores, attention)
