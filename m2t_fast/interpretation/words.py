"""What the model attended to, word by word."""

from __future__ import annotations

from dataclasses import dataclass

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
    mean: float
    std: float
    window: Tensor
    spatial: Tensor

    @property
    def parts(self) -> dict[str, float]:
        """Weight of every body part, averaged over the frames with the window's weights; they sum to 1."""
        weights = (self.window[:, None] * self.spatial).sum(0) / self.window.sum()
        return dict(zip(PART_NAMES, weights.tolist(), strict=True))


def caption_words(generation: Generation, row: int, length: int, vocabulary: Vocabulary) -> list[WordAttention]:
    """The words of the best caption of motion ``row`` of a batch, without <eos>, with the attention of each.

    ``length``: the motion's valid frames T; what the batch pads is cut off.
    """
    attention = generation.attention
    words = []
    for step, token in enumerate(generation.tokens[row, 0].tolist()):
        if token == EOS:
            break
        if token in (PAD, SOS):  # the decoded caption leaves them out, too
            continue
        words.append(
            WordAttention(
                word=vocabulary.words[token],
                gate=float(attention.gate[row, step]),
                mean=float(attention.mean[row, step]),
                std=float(attention.std[row, step]),
                window=attention.window[row, step, :length].float(),
                spatial=attention.spatial[row, step, :length].float(),
            )
        )
    return words


def seconds_of(frame: float, settings: DataSettings, fps: float, frames: int) -> float:
    """When a kept frame (may be fractional) happens, in seconds from the beginning of the motion as distributed.

    ``fps`` and ``frames`` are the frame rate and the number of frames of the motion as distributed.
    """
    return (min(settings.first_frame, frames - 1) + frame * settings.downsample) / fps
