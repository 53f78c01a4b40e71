"""The spatial attention loss in plain PyTorch (eq. 13)."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.reference.encoder import valid_frames

LOG_MIN = -100.0
"""Floor of a logarithm in a binary cross entropy, as in torch's."""


def spatial_loss(spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Eq. 13: binary cross entropy of alpha (B, L, T, P) with word targets (B, L, P) of 1, 0 or -1 (unsupervised).

    Mean over supervised words, valid frames and parts; 0 if no word is supervised.
    """
    counted, _, weight = right_weights(spatial, target, lengths)
    return torch.where(counted, -_safe_log(weight), 0).sum() / counted.sum().clamp(min=1)


def right_weights(spatial: Tensor, target: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What counts, whether the part performs the word, and the weight whose log counts: alpha, or 1 - alpha where the
    part does not perform it. Each (B, L, T, P) or of a shape that expands to it.

    alpha sums to 1 over the parts, so 1 - alpha is the sum of the others, exact also where alpha rounds to 1.
    """
    mask = valid_frames(lengths, spatial.shape[2])
    counted = (target >= 0)[:, :, None, :] & mask[:, None, :, None]
    hit = (target > 0)[:, :, None, :]
    others = spatial @ (1 - torch.eye(spatial.shape[-1]).to(spatial))
    return counted, hit, torch.where(counted, torch.where(hit, spatial, others), 0.5)


def _safe_log(x: Tensor) -> Tensor:
    """log x, at least LOG_MIN, with gradient 0 there: the log of an underflowed weight is not infinitely wrong."""
    tiny = torch.finfo(x.dtype).tiny
    return torch.where(x > tiny, torch.log(x.clamp(min=tiny)).clamp(min=LOG_MIN), LOG_MIN)
