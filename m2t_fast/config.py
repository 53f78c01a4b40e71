"""The sizes and choices that define a captioner; everything its weights depend on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from m2t_fast.skeleton import skeleton_of

Scoring = Literal["part", "frame"]
Search = Literal["beam", "best_first"]
SEARCHES: tuple[str, ...] = get_args(Search)
"""How to search for captions: batched beam search, or the released best-first search."""

MAX_LENGTH = 40
"""Default length of the longest caption in words, <eos> included."""

LARGEST_SIZE = 10_000_000
"""Largest size of a model: of a file that claims more, something is damaged."""

SIGMA_MIN = 1e-3
"""Floor of the Gaussian window's standard deviation, in frames (eq. 4)."""

LOG_MIN = -100.0
"""Floor of a logarithm in a binary cross entropy, as in torch's."""

PAD, SOS, EOS, UNK = 0, 1, 2, 3
"""Token ids of <pad>, <sos>, <eos>, <unk>."""


@dataclass(frozen=True)
class CaptionerConfig:
    """Sizes of a :class:`~m2t_fast.Captioner`, by the letters of the glossary.

    Args:
        vocab_size: V, words of the vocabulary with the four special tokens.
        joints: J, 21 (KIT-ML) or 22 (HumanML3D).
        part_dim: H, features of a body part; even (position half and velocity half).
        attention_dim: D, attention and encoder hidden size.
        hidden_size: C, size of both LSTMs.
        embedding_dim: E, word embedding size.
        scoring: ``"part"`` scores (part, frame) pairs as the paper prints (S = P keys per frame); ``"frame"`` scores
            frames as the released code does (S = 1).
        context_scale: rho of eq. 8: 1 (paper) or 1/P (released weights).
        dropout: dropout on word embeddings, drawn twice per step.

    Raises:
        ValueError: a size is not positive, ``part_dim`` is odd, or a choice is unknown. The message names it.
    """

    vocab_size: int
    joints: int = 22
    part_dim: int = 256
    attention_dim: int = 256
    hidden_size: int = 256
    embedding_dim: int = 128
    scoring: Scoring = "part"
    context_scale: float = 1.0
    dropout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("vocab_size", "joints", "part_dim", "attention_dim", "hidden_size", "embedding_dim"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_SIZE:
                raise ValueError(f"{name}: got {value!r}, expected a positive integer of at most {LARGEST_SIZE:,}")
        if self.vocab_size <= UNK:
            raise ValueError(f"vocab_size: got {self.vocab_size}, expected at least 4 (<pad> <sos> <eos> <unk>)")
        if self.part_dim % 2:
            raise ValueError(f"part_dim: got {self.part_dim}, expected an even number (positions and velocities)")
        skeleton_of(self.joints)
        if self.scoring not in ("part", "frame"):
            raise ValueError(f"scoring: got {self.scoring!r}, expected 'part' or 'frame'")
        for name in ("dropout", "context_scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not -1e6 <= value <= 1e6:
                raise ValueError(f"{name}: got {value!r}, expected a number of at most a million")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout: got {self.dropout!r}, expected a number in [0, 1)")
        if not self.context_scale > 0.0:
            raise ValueError(f"context_scale: got {self.context_scale!r}, expected a positive number")

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """Joint indices of each of the P body parts."""
        return skeleton_of(self.joints).parts

    @property
    def key_slots(self) -> int:
        """S: keys per frame."""
        return len(self.parts) if self.scoring == "part" else 1

    @property
    def mixture_dim(self) -> int:
        """M = E + D + C: width of the hidden layer of eq. 10."""
        return self.embedding_dim + self.attention_dim + self.hidden_size

    @classmethod
    def kit(cls, vocab_size: int, **changes: Any) -> CaptionerConfig:
        """The paper's sizes for KIT-ML (H = D = C = 128, E = 64, 21 joints); ``changes`` override fields."""
        sizes = dict(joints=21, part_dim=128, attention_dim=128, hidden_size=128, embedding_dim=64)
        return cls(vocab_size=vocab_size, **{**sizes, **changes})

    @classmethod
    def humanml3d(cls, vocab_size: int, **changes: Any) -> CaptionerConfig:
        """The paper's sizes for HumanML3D (H = D = C = 256, E = 128, 22 joints); ``changes`` override fields."""
        return cls(vocab_size=vocab_size, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The fields as a JSON-ready dictionary."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CaptionerConfig:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: an unknown or missing field, or a value out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"config: unknown field {unknown[0]!r}, expected {', '.join(sorted(known))}")
        if "vocab_size" not in values:
            raise ValueError("config: field 'vocab_size' is missing")
        return cls(**values)
