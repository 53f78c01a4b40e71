"""What a search returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class GeneratedAttention(NamedTuple):
    """Where the model looked at each of W words of the best caption; 0 after the caption's end."""

    gate: Tensor
    """(B, W): beta (eq. 7)."""
    window: Tensor
    """(B, W, T): Gaussian window over the frames (eq. 4)."""
    spatial: Tensor
    """(B, W, T, P): weights of the body parts (eq. 6)."""
    mean: Tensor
    """(B, W): centre of the window in frames."""
    std: Tensor
    """(B, W): width of the window in frames."""


class Generation(NamedTuple):
    """Captions of B motions, K hypotheses each, best first."""

    tokens: Tensor
    """(B, K, W) int64 without <sos>; <pad> after the end. W is the longest hypothesis, at most max_length."""
    scores: Tensor
    """(B, K): log-probability / length ** length_penalty; -inf where fewer than K captions exist. Of a best-first
    search log-probability / (length + 1e-6) in float64: minus the number that the released code sorts by."""
    attention: GeneratedAttention
    """Attention of hypothesis 0 of every motion."""
