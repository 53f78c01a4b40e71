"""Guided training losses: language, adaptive gate and spatial attention (eq. 11-14)."""

from __future__ import annotations

import inspect
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from m2t_fast.config import PAD
from m2t_fast.ops import vocabulary
from m2t_fast.ops.checks import check_shape, wide
from m2t_fast.ops.loss import spatial_loss
from m2t_fast.reference.loss import adaptive_terms, spatial_terms_count, temporal_terms

__all__ = [
    "GuidedLoss",
    "Losses",
    "adaptive_loss",
    "guided_loss",
    "language_loss",
    "linear_language_loss",
    "spatial_loss",
    "supervised_counts",
    "temporal_loss",
]


class GuidedLoss(NamedTuple):
    """Scalars; ``total`` = language + lambda_spat * spatial + lambda_adapt * adaptive (eq. 14)."""

    total: Tensor
    language: Tensor
    spatial: Tensor
    adaptive: Tensor


class TimedGuidedLoss(NamedTuple):
    """Scalars; ``total`` is that of :class:`GuidedLoss` + lambda_temp * temporal."""

    total: Tensor
    language: Tensor
    spatial: Tensor
    adaptive: Tensor
    temporal: Tensor


class Losses(NamedTuple):
    """Scalars, before they are weighted: eq. 11, 13 and 12."""

    language: Tensor
    spatial: Tensor
    adaptive: Tensor

    def weighted(self, lambda_spat: float, lambda_adapt: float, lambda_temp: float = 0.0) -> GuidedLoss:
        """Eq. 14; there is no temporal loss for ``lambda_temp`` to weight."""
        return GuidedLoss(self.language + lambda_spat * self.spatial + lambda_adapt * self.adaptive, *self)

    def timed(self, temporal: Tensor | None) -> Losses | TimedLosses:
        """With the temporal loss, where there is one."""
        return self if temporal is None else TimedLosses(*self, temporal)


class TimedLosses(NamedTuple):
    """Scalars, before they are weighted: those of :class:`Losses`, and the temporal loss."""

    language: Tensor
    spatial: Tensor
    adaptive: Tensor
    temporal: Tensor

    def weighted(self, lambda_spat: float, lambda_adapt: float, lambda_temp: float) -> TimedGuidedLoss:
        """Eq. 14 and the temporal loss."""
        total = Losses(*self[:3]).weighted(lambda_spat, lambda_adapt).total
        return TimedGuidedLoss(total + lambda_temp * self.temporal, *self)


class Output(Protocol):
    """What the losses read of a forward pass over L words: a :class:`~m2t_fast.captioner.CaptionerOutput`, or anything
    with these fields."""

    @property
    def logits(self) -> Tensor:
        """(B, L, V)."""

    @property
    def gate(self) -> Tensor:
        """(B, L): beta."""

    @property
    def spatial(self) -> Tensor:
        """(B, L, T, P)."""

    @property
    def gate_logit(self) -> Tensor | None:
        """(B, L): beta before the sigmoid, or None where it is not known."""

    @property
    def mean(self) -> Tensor:
        """(B, L): centre of the window in frames; the temporal loss alone reads it."""

    @property
    def std(self) -> Tensor:
        """(B, L): width of the window in frames; the temporal loss alone reads it."""


def language_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Eq. 11: cross entropy of logits (B, L, V) with words (B, L), mean over all but <pad>; 0 if nothing is left."""
    words = (targets != PAD).sum()
    total = F.cross_entropy(wide(logits.flatten(0, 1)), targets.flatten(), ignore_index=PAD, reduction="sum")
    return total / words.clamp(min=1)


# Newer versions of torch have it; without a bias it is not our layer.
_LINEAR_CROSS_ENTROPY = getattr(F, "linear_cross_entropy", None)
if _LINEAR_CROSS_ENTROPY and "linear_bias" not in inspect.signature(_LINEAR_CROSS_ENTROPY).parameters:
    _LINEAR_CROSS_ENTROPY = None


def linear_language_loss(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """:func:`language_loss` of the logits of the vocabulary layer (eq. 10 and 11), the two fused by backend or torch.

    Args:
        features: (B, L, M). weight: (V, M). bias: (V,). targets: (B, L) words, <pad> ignored.
    """
    if vocabulary.takes(weight):
        total = vocabulary.vocabulary_loss(features.flatten(0, 1), weight, bias, targets.flatten())
        return total / (targets != PAD).sum().clamp(min=1)
    # Under autocast the logits come from the layer in its dtype, and their softmax is in float32.
    if _LINEAR_CROSS_ENTROPY is None or features.dtype != weight.dtype:
        return language_loss(F.linear(features, weight, bias), targets)
    rows, words = features.flatten(0, 1), targets.flatten()
    total = _LINEAR_CROSS_ENTROPY(rows, weight, words, linear_bias=bias, ignore_index=PAD, reduction="sum")
    return total / (targets != PAD).sum().clamp(min=1)


def adaptive_loss(gate: Tensor, target: Tensor, gate_logit: Tensor | None = None) -> Tensor:
    """Eq. 12: binary cross entropy of beta (B, L) with targets 1, 0 or -1 (unsupervised), mean over supervised words.

    Computed from ``gate_logit`` where it is given, which is exact where beta rounds to 0 or 1. 0 if no word is
    supervised.
    """
    supervised = target >= 0
    if gate_logit is not None:
        terms = adaptive_terms(wide(gate_logit), target)
    else:
        each = F.binary_cross_entropy(wide(gate), wide(target.clamp(min=0).to(gate.dtype)), reduction="none")
        terms = torch.where(supervised, each, 0)
    return terms.sum() / supervised.sum().clamp(min=1)


def temporal_loss(mean: Tensor, std: Tensor, target: Tensor) -> Tensor:
    """How far the windows of words lie from the segments that they name, mean over the words that name one.

    Args:
        mean, std: (B, L), m and sigma of eq. 4 in frames. target: (B, L, 2), start and end in frames (frame k covers
            k - 0.5 to k + 0.5); a word whose end is not after its start has no time.

    Returns:
        Scalar: see :func:`m2t_fast.reference.loss.temporal_terms`; 0 if no word has a time.
    """
    return temporal_terms(wide(mean), wide(std), target).sum() / timed_words(target).clamp(min=1)


def timed_words(target: Tensor) -> Tensor:
    """How many words of (B, L, 2) have a time."""
    return (target[..., 1] > target[..., 0]).sum()


def supervised_counts(
    tokens: Tensor, lengths: Tensor, gate_target: Tensor, spatial_target: Tensor, temporal_target: Tensor | None = None
) -> Tensor:
    """What the means of :func:`guided_loss` divide by: (3,) int64, of the language, spatial and adaptive loss, and with
    ``temporal_target`` (4,), of the temporal loss as well.

    Words but <pad>; supervised parts of words times valid frames; supervised words; words that have a time. The means
    of several batches, weighted by these, add up to the mean of all.

    Args:
        tokens: (B, L+1) int64. lengths: (B,) int64 valid frames. gate_target: (B, L). spatial_target: (B, L, P).
        temporal_target: (B, L, 2).
    """
    counts = [(tokens[:, 1:] != PAD).sum(), spatial_terms_count(spatial_target, lengths), (gate_target >= 0).sum()]
    if temporal_target is not None:
        counts.append(timed_words(temporal_target))
    return torch.stack(counts)


def output_losses(
    out: Output,
    tokens: Tensor,
    lengths: Tensor,
    gate_target: Tensor,
    spatial_target: Tensor,
    temporal_target: Tensor | None = None,
) -> Losses | TimedLosses:
    """The losses of an output, of checked tokens (B, L+1), lengths (B,) and targets (B, L), (B, L, P) and (B, L, 2)."""
    losses = Losses(
        language_loss(out.logits, tokens[:, 1:]),
        spatial_loss(wide(out.spatial), spatial_target, lengths),
        adaptive_loss(out.gate, gate_target, out.gate_logit),
    )
    return losses.timed(None if temporal_target is None else temporal_loss(out.mean, out.std, temporal_target))


def losses_of_sums(
    language: Tensor,
    spatial_sums: Tensor,
    adaptive_terms: Tensor,
    lengths: Tensor,
    gate_target: Tensor,
    spatial_target: Tensor,
) -> Losses:
    """The three losses from what ops with the losses folded in leave: per word the sum of its spatial terms and its
    adaptive term, each (B, L); and the language loss."""
    return Losses(
        language,
        spatial_sums.sum() / spatial_terms_count(spatial_target, lengths).clamp(min=1),
        adaptive_terms.sum() / (gate_target >= 0).sum().clamp(min=1),
    )


def guided_loss(
    out: Output,
    tokens: Tensor,
    lengths: Tensor,
    gate_target: Tensor,
    spatial_target: Tensor,
    lambda_spat: float = 2.0,
    lambda_adapt: float = 3.0,
    lambda_temp: float = 0.0,
    temporal_target: Tensor | None = None,
) -> GuidedLoss | TimedGuidedLoss:
    """Eq. 14 for a :class:`~m2t_fast.captioner.CaptionerOutput` ``out`` of L words.

    Args:
        out: has ``logits`` (B, L, V), ``gate`` (B, L), ``spatial`` (B, L, T, P) and ``gate_logit`` (B, L).
        tokens: (B, L+1) int64, the captions from <sos>.
        lengths: (B,) int64 valid frames.
        gate_target: (B, L): 1 motion word, 0 other word, -1 unsupervised, for the words ``tokens[:, 1:]``.
            (B, L+1) aligned with ``tokens`` is accepted, too; its first column is dropped.
        spatial_target: (B, L, P) or (B, L+1, P): 1 or 0 per part, -1 unsupervised.
        temporal_target: (B, L, 2) or (B, L+1, 2), start and end in frames of the segment that a word names (-1 and -1:
            none). With it the result has ``temporal`` as well, which ``lambda_temp`` weighs, and ``out`` needs ``mean``
            and ``std`` (B, L).

    Raises:
        ValueError: a shape does not fit; the message names the argument.
    """
    batch, words = out.gate.shape
    check_shape("guided_loss", "tokens", tokens, (batch, words + 1), {})
    check_shape("guided_loss", "lengths", lengths, (batch,), {})
    if gate_target.dim() == 2 and gate_target.shape[1] == words + 1:
        gate_target = gate_target[:, 1:]
    if spatial_target.dim() == 3 and spatial_target.shape[1] == words + 1:
        spatial_target = spatial_target[:, 1:]
    check_shape("guided_loss", "gate_target", gate_target, (batch, words), {})
    check_shape("guided_loss", "spatial_target", spatial_target, (batch, words, out.spatial.shape[-1]), {})
    if temporal_target is not None:
        if temporal_target.dim() == 3 and temporal_target.shape[1] == words + 1:
            temporal_target = temporal_target[:, 1:]
        check_shape("guided_loss", "temporal_target", temporal_target, (batch, words, 2), {})
    losses = output_losses(out, tokens, lengths, gate_target, spatial_target, temporal_target)
    return losses.weighted(lambda_spat, lambda_adapt, lambda_temp)
