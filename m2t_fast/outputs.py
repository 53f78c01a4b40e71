"""A captioner's random numbers of a step, and its outputs: tuples of tensors, which torch.export can save."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.utils import _pytree


class CaptionerOutput(NamedTuple):
    """What the model gives for L words of B captions; T frames, P parts, V vocabulary."""

    logits: Tensor
    """(B, L, V): scores of the next word before the softmax (eq. 10)."""
    gate: Tensor
    """(B, L): beta (eq. 7)."""
    window: Tensor
    """(B, L, T): Gaussian window over the frames (eq. 4)."""
    spatial: Tensor
    """(B, L, T, P): weights of the body parts (eq. 6)."""
    mean: Tensor
    """(B, L): centre of the window in frames."""
    std: Tensor
    """(B, L): width of the window in frames."""
    gate_logit: Tensor
    """(B, L): beta before the sigmoid."""
    words: Tensor
    """(B, L) int64: the words that were read, reference words or the model's own."""


class Draws(NamedTuple):
    """All random numbers of one training step, drawn before it, so that every way to run the step can share them."""

    coins: Tensor | None
    """(L,) bool: True reads the reference word at this step, False the model's own; None: always the reference."""
    dropout: tuple[Tensor, Tensor] | None
    """Two factors (B, L, E), 0 or 1 / (1 - p), on the embeddings that the bottom LSTM and the mixture read."""


# torch.export.save writes an output's class by this name; torch.export.load wants the class registered again.
_pytree._register_namedtuple(CaptionerOutput, serialized_type_name="m2t_fast.CaptionerOutput")
