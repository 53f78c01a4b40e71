"""What the model attended to, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.ops.decoding.result import Generation
from m2t_fast.skeleton import PART_NAMES


@dataclass(frozen=True)
class WordAttention:
    """Where and when the model looked to say one word.

    ``gate``: beta (eq. 7), how much of the word comes from the motion; ``window`` (T,) and ``spatial`` (T, P): weights
    of the frames (eq. 4) and of the body parts (eq. 6); ``mean`` and ``std`` of the window in kept frames.
    """

    word: str
    gate: float
    window: Tensor
    spatial: Tensor
    mean: float
    std: float

    @property
    def parts(self) -> dict[str, float]:
        """Weight of every body part, averaged over the frames with the window's weights; they sum to 1."""
        weights = (self.window[:, None] * self.spatial).sum(0) / self.window.sum()
        return dict(zip(PART_NAMES, weights.tolist(), strict=True))


def says_words(tokens: np.ndarray) -> np.ndarray:
    """Which tokens (..., L) of captions are words, as a mask: neither padding nor <sos>, and before the first <eos>."""
    ended = np.logical_or.accumulate(tokens == EOS, axis=-1)
    return np.asarray(~ended & (tokens != PAD) & (tokens != SOS))


def spoken(tokens: Sequence[int], vocabulary: Vocabulary) -> tuple[list[int], list[str]]:
    """The steps of a caption that say a word, and these words, up to <eos>."""
    steps = np.flatnonzero(says_words(np.asarray(tokens))).tolist()
    return steps, [vocabulary.words[tokens[step]] for step in steps]


def caption_words(generation: Generation, row: int, length: int, vocabulary: Vocabulary) -> list[WordAttention]:
    """The words of the best caption of motion ``row`` of a batch, without <eos>, with the attention of each.

    ``length``: the motion's valid frames T; what the batch pads is cut off.
    """
    steps, words = spoken(generation.tokens[row, 0].tolist(), vocabulary)
    seen = generation.attention.of_words(row, steps, length)
    gate, mean, std = (x.tolist() for x in (seen.gate, seen.mean, seen.std))
    rows = zip(words, gate, seen.window.float(), seen.spatial.float(), mean, std, strict=True)
    return [WordAttention(*row) for row in rows]


def seconds_of(frame: float, settings: DataSettings, fps: float, frames: int) -> float:
    """When a kept frame (may be fractional) happens, in seconds from the beginning of the motion as distributed.

    ``fps`` and ``frames`` are the frame rate and the number of frames of the motion as distributed.
    """
    return (min(settings.first_frame, frames - 1) + frame * settings.downsample) / fps
