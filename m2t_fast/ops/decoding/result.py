"""What a search returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class CaptionAttention(NamedTuple):
    """Where and when the model looked at each of W words of B captions; 0 after a caption's end."""

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

    def of_words(self, row: int, steps: list[int], frames: int) -> CaptionAttention:
        """The attention of these steps of caption ``row``, on the CPU, without B and of the first ``frames`` frames."""
        gate, window, spatial, mean, std = (x[row].cpu()[steps] for x in self)
        return CaptionAttention(gate, window[:, :frames], spatial[:, :frames], mean, std)

    def cpu(self) -> CaptionAttention:
        """All of it on the CPU."""
        return CaptionAttention(*(x.cpu() for x in self))


class Generation(NamedTuple):
    """Captions of B motions, K hypotheses each, best first."""

    tokens: Tensor
    """(B, K, W) int64 without <sos>; <pad> after the end. W is the longest hypothesis, at most max_length."""
    scores: Tensor
    """(B, K): log-probability / length ** length_penalty; -inf where fewer than K captions exist. Of a best-first
    search log-probability / (length + 1e-6) in float64: minus the number that the released code sorts by."""
    attention: CaptionAttention
    """Attention of hypothesis 0 of every motion."""
