"""A motion with its caption and the attention of every word, as the page and the animation take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from m2t_fast.captioning.words import WordAttention
from m2t_fast.skeleton import PART_NAMES, Skeleton, skeleton_of


@dataclass(frozen=True)
class CaptionedMotion:
    """A motion and what the model said about it: W words (0 for an empty caption) over T frames of J joints.

    Args:
        name: what to call the motion, for example its file.
        joints: (T, J, 3) positions in metres, Y up: the frames that the model read. J is 21 (KIT-ML) or 22 (HumanML3D).
        words: W words of the caption.
        gate: (W,) beta of each word (eq. 7), 0 to 1.
        window: (W, T) Gaussian window over the frames (eq. 4), 0 to 1.
        spatial: (W, T, P) weights of the body parts (eq. 6), 0 to 1.
        mean: (W,) centre of the window in frames. std: (W,) its width in frames.
        fps: frames per second of ``joints``.
        start: time of frame 0 in seconds of the file, which may begin with frames that are left out.
        reference: a caption by a person, to show beside the model's.
        notes: what was assumed about the motion's file: its joints, unit, axes.
        score: of the caption: log-probability / length ** length_penalty.
        others: other captions that the search found, each with its score, best first.
        segments: of a long take, stretches (start, end, caption) that the page shows; in frames, end exclusive.
        doubts: why the caption is not to be trusted, one phrase each.

    Raises:
        ValueError: shapes that do not fit, values that are not finite or out of range.
    """

    name: str
    joints: np.ndarray
    words: tuple[str, ...]
    gate: np.ndarray
    window: np.ndarray
    spatial: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    fps: float = 10.0
    start: float = 0.0
    reference: str | None = None
    notes: str = ""
    score: float | None = None
    others: tuple[tuple[str, float], ...] = ()
    segments: tuple[tuple[float, float, str], ...] = ()
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        words, parts = len(self.words), len(PART_NAMES)
        joints = self._array("joints", self.joints, (None, None, 3))
        frames = len(joints)
        if frames == 0:
            raise ValueError(f"joints: got shape {joints.shape}, expected at least one frame")
        skeleton_of(joints.shape[1])
        shapes: dict[str, tuple[int, ...]] = {
            "gate": (words,),
            "window": (words, frames),
            "spatial": (words, frames, parts),
            "mean": (words,),
            "std": (words,),
        }
        for name, shape in shapes.items():
            values = self._array(name, getattr(self, name), shape)
            # A hair outside is the rounding of whatever computed it.
            if name in ("gate", "window", "spatial") and ((values < -1e-3) | (values > 1.001)).any():
                raise ValueError(f"{name}: got values outside 0 to 1")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps: got {self.fps!r}, expected a positive number")
        if self.score is not None and not np.isfinite(self.score):
            raise ValueError(f"score: got {self.score!r}, expected a finite number or None")
        if not np.isfinite(self.start):
            raise ValueError(f"start: got {self.start!r}, expected a finite number")

    def _array(self, name: str, values: ArrayLike, shape: Sequence[int | None]) -> np.ndarray:
        """Stores a field as float64 in the shape expected; None stands for any length."""
        array = np.asarray(values, dtype=np.float64)
        if array.size == 0 and array.ndim <= 1 and 0 in shape:
            array = array.reshape([length or 0 for length in shape])
        if array.ndim != len(shape) or any(e is not None and g != e for g, e in zip(array.shape, shape, strict=True)):
            expected = str(tuple("any" if length is None else length for length in shape)).replace("'", "")
            raise ValueError(f"{name}: got shape {array.shape}, expected {expected}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: got values that are not finite")
        object.__setattr__(self, name, array)
        return array

    @classmethod
    def of(
        cls,
        name: str,
        joints: np.ndarray,
        words: Sequence[WordAttention],
        fps: float = 10.0,
        start: float = 0.0,
        reference: str | None = None,
        notes: str = "",
        score: float | None = None,
        others: Sequence[tuple[str, float]] = (),
        doubts: Sequence[str] = (),
    ) -> CaptionedMotion:
        """From the words that :func:`caption_words` gives; ``joints`` (T, J, 3) in metres are the frames it saw."""
        frames, parts = len(joints), len(PART_NAMES)
        return cls(
            name=name,
            joints=joints,
            words=tuple(word.word for word in words),
            gate=np.array([word.gate for word in words]),
            window=np.array([word.window.numpy() for word in words]).reshape(-1, frames),
            spatial=np.array([word.spatial.numpy() for word in words]).reshape(-1, frames, parts),
            mean=np.array([word.mean for word in words]),
            std=np.array([word.std for word in words]),
            fps=fps,
            start=start,
            reference=reference,
            notes=notes,
            score=score,
            others=tuple(others),
            doubts=tuple(doubts),
        )

    @property
    def caption(self) -> str:
        """The words joined by spaces; may be empty."""
        return " ".join(self.words)

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton with this many joints."""
        return skeleton_of(self.joints.shape[1])

    def current_words(self, threshold: float) -> np.ndarray:
        """(T,) int64: the word that the pictures show at each frame when none is picked; -1 for none.

        That is the motion word (gate at least ``threshold``) whose window, times its gate, is highest there; among
        equals the first. A frame where every motion word's window is below 5 % has none.
        """
        frames = len(self.joints)
        motion_words = self.gate >= threshold
        if not motion_words.any():
            return np.full(frames, -1, dtype=np.int64)
        strength = np.where(motion_words, self.gate, -1.0)[:, None] * self.window
        best = strength.argmax(0)
        return np.where(self.window[best, np.arange(frames)] >= 0.05, best, -1)
