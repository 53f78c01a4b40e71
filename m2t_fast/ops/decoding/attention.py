"""The attention behind finished captions: one parallel pass over the best hypothesis of every motion."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.config import SOS
from m2t_fast.ops.decoding.decoder import Decoder, Memory
from m2t_fast.ops.decoding.result import CaptionAttention


def caption_attention(decoder: Decoder, memory: Memory, tokens: Tensor, lengths: Tensor) -> CaptionAttention:
    """Where the decoder looked at each word of the captions tokens (B, W), whose words are lengths (B,)."""
    previous = torch.cat([torch.full_like(tokens[:, :1], SOS), tokens[:, :-1]], dim=1)
    word = decoder.embed(previous)
    hidden, top, _ = decoder.run_lstms(word, None)
    attended, step = decoder.look(memory, hidden, top, word, word)
    inside = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
    return CaptionAttention(
        gate=torch.where(inside, step.gate, 0),
        window=torch.where(inside[..., None], attended.window, 0),
        spatial=torch.where(inside[..., None, None], attended.spatial, 0),
        mean=torch.where(inside, attended.mean, 0),
        std=torch.where(inside, attended.std, 0),
    )
