"""The guided losses of gate, spatial attention (eq. 12 and 13) and windows in time, in plain PyTorch."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from m2t_fast.config import LOG_MIN
from m2t_fast.records import Int64, Kind, Target, from_fields
from m2t_fast.reference.encoder import valid_frames


def adaptive_terms(gate_logit: Tensor, target: Tensor) -> Tensor:
    """The terms of eq. 12, shaped as both: binary cross entropy of the gate with 1, 0 or -1 (unsupervised, term 0).

    From the gate's logit, exact where the gate rounds to 0 or 1.
    """
    goal = target.clamp(min=0).to(gate_logit.dtype)
    each = F.binary_cross_entropy_with_logits(gate_logit, goal, reduction="none")
    return torch.where(target >= 0, each, 0)


def adaptive_terms_gradient(gate_logit: Tensor, target: Tensor) -> Tensor:
    """Gradient of the sum of :func:`adaptive_terms` with respect to ``gate_logit``."""
    goal = target.clamp(min=0).to(gate_logit.dtype)
    # sigmoid(logit) - goal, without its cancellation.
    slope = (1 - goal) * torch.sigmoid(gate_logit) - goal * torch.sigmoid(-gate_logit)
    return torch.where(target >= 0, slope, 0)


class LossInputs(NamedTuple):
    """Weights of the parts, and what they should be."""

    spatial: Annotated[Tensor, "B L T P"]
    """alpha, which sums to 1 over the parts of a valid frame."""
    target: Annotated[Tensor, Target("B L P")]
    """1 or 0 for a part that does or does not perform the word, -1 unsupervised."""
    lengths: Annotated[Tensor, Int64("B")]
    """Valid frames; beyond T they count as T."""


@from_fields(LossInputs)
def spatial_loss(x: LossInputs) -> Annotated[Tensor, Kind("", "loss")]:
    """Eq. 13: binary cross entropy of alpha with word targets, mean over supervised words, valid frames and parts.

    0 if no word is supervised. A logarithm is at least -100, as in torch's own, with gradient 0 where it is cut off.
    """
    count = spatial_terms_count(x.target, x.lengths.clamp(max=x.spatial.shape[2]))
    mean = spatial_terms(not_half(x.spatial), x.target, x.lengths).sum() / count.clamp(min=1)
    return mean.to(x.spatial.dtype)


def not_half(spatial: Tensor) -> Tensor:
    """In float32 where it is float16: there weights whose logarithm is -10 count as underflowed, and sums overflow."""
    return spatial.float() if spatial.dtype is torch.float16 else spatial


def spatial_terms_count(target: Tensor, lengths: Tensor) -> Tensor:
    """How many terms the mean of eq. 13 runs over: supervised words and parts times valid frames."""
    return ((target >= 0).sum(dim=(1, 2)) * lengths).sum()


def spatial_terms(spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """The terms of eq. 13, (B, L, T, P): binary cross entropy of alpha with word targets, 0 where nothing is counted.

    Args:
        spatial: (B, L, T, P) alpha, which sums to 1 over the parts. target: (B, L, P) of 1, 0 or -1 (unsupervised).
        lengths: (B,) int64 valid frames.
    """
    mask = valid_frames(lengths, spatial.shape[2])
    counted = (target >= 0)[:, :, None, :] & mask[:, None, :, None]
    # alpha sums to 1 over the parts, so 1 - alpha is the sum of the others, exact also where alpha rounds to 1.
    alpha = torch.where(counted, spatial, 0.5)
    others = torch.where(counted, spatial @ _others(spatial), 0.5)
    hit = (target > 0)[:, :, None, :]
    each = -torch.where(hit, _safe_log(alpha), _safe_log(others))
    return torch.where(counted, each, 0)


def _others(spatial: Tensor) -> Tensor:
    """(P, P): 1 off the diagonal, made where ``spatial`` lies: a copy from the host would wait for the device."""
    return 1 - torch.eye(spatial.shape[-1], dtype=spatial.dtype, device=spatial.device)


def _safe_log(x: Tensor) -> Tensor:
    """log x, at least LOG_MIN, with gradient 0 there, so that an underflowed weight has a finite loss."""
    tiny = torch.finfo(x.dtype).tiny
    return torch.where(x > tiny, torch.log(x.clamp(min=tiny)).clamp(min=LOG_MIN), LOG_MIN)


def spatial_terms_gradient(spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Gradient of the sum of :func:`spatial_terms` with respect to ``spatial``."""
    mask = valid_frames(lengths, spatial.shape[2])
    counted = (target >= 0)[:, :, None, :] & mask[:, None, :, None]
    hit = (target > 0)[:, :, None, :]
    swap = _others(spatial)
    tiny = max(torch.finfo(spatial.dtype).tiny, math.exp(LOG_MIN))
    weight = torch.where(hit, spatial, spatial @ swap)
    inverse = torch.where(counted & (weight > tiny), -1 / weight.clamp(min=tiny), 0)
    return torch.where(hit, inverse, 0) + torch.where(hit, 0, inverse) @ swap


def temporal_terms(mean: Tensor, std: Tensor, target: Tensor) -> Tensor:
    """How far the window of each word lies from the segment that it names, (B, L): 0 where a word has no time.

    Attention spread evenly over a segment of d frames around c has the mean c and the standard deviation
    s = d / sqrt(12). The term is ln(1 + ((m - c)^2 + (sigma - s)^2) / s^2): the squared 2-Wasserstein distance of the
    two Gaussians on the segment's own scale, in a logarithm, so that a window far off does not outweigh all others.

    Args:
        mean, std: (B, L), m and sigma of eq. 4 in frames. target: (B, L, 2), start and end in frames (frame k covers
            k - 0.5 to k + 0.5); a word whose end is not after its start has no time.
    """
    start, end = target.to(mean.dtype).unbind(-1)
    timed = end > start
    centre = torch.where(timed, (start + end) / 2, 0)
    spread = torch.where(timed, (end - start) / math.sqrt(12), 1)
    distance = ((mean - centre) / spread).square() + ((std - spread) / spread).square()
    return torch.where(timed, torch.log1p(distance), 0)
