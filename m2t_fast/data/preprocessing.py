"""Downsampling, filters and standardisation of motions, as the released pipeline does them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from m2t_fast.data.raw import Caption, RawMotion, Segment
from m2t_fast.data.text import tokenise
from m2t_fast.errors import UserError
from m2t_fast.wording import counted

_Array = TypeVar("_Array", np.ndarray, torch.Tensor)
_FLAT = 1e-6  # metres: an axis that varies less than a micrometre does not vary
_LARGEST = 1e9  # metres, and their inverse: float32 holds what is standardised by them


@dataclass(frozen=True)
class DataSettings:
    """How raw motions and captions become training data. ``None`` switches a limit off; limits are inclusive.

    Args:
        downsample: one frame is kept out of this many.
        first_frame: the first frame kept; a motion that ends before it keeps its last frame.
        min_frames: motions with fewer frames, before downsampling, are dropped.
        max_frames: motions with more frames, before downsampling, are dropped.
        max_frames_train: training motions with more frames, after downsampling, are dropped.
        max_tokens: captions of more words (<sos> and <eos> not counted) are dropped.
        min_captions: motions with fewer captions left are dropped.
        min_count: words seen less often in the training captions become <unk>.

    Raises:
        ValueError: a value out of range; the message names it.
    """

    downsample: int = 2
    first_frame: int = 1
    min_frames: int | None = None
    max_frames: int | None = None
    max_frames_train: int | None = None
    max_tokens: int | None = None
    min_captions: int = 1
    min_count: int = 3

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None and "None" in str(field.type):
                continue
            least = 0 if field.name == "first_frame" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{field.name}: got {value!r}, expected an integer of at least {least}")
        if self.min_frames is not None and self.max_frames is not None and self.min_frames > self.max_frames:
            raise ValueError(f"min_frames: got {self.min_frames}, expected at most max_frames ({self.max_frames})")

    @classmethod
    def kit(cls, **changes: Any) -> DataSettings:
        """KIT-ML as released: motions over 100 frames after downsampling are dropped in training."""
        return cls(**{"max_frames_train": 100, **changes})

    @classmethod
    def humanml3d(cls, **changes: Any) -> DataSettings:
        """HumanML3D as released: 40 to 200 frames before downsampling, captions up to 20 words, 3 captions or more."""
        return cls(**{"min_frames": 40, "max_frames": 200, "max_tokens": 20, "min_captions": 3, **changes})

    def to_dict(self) -> dict[str, int | None]:
        """The fields as a JSON-ready dictionary."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DataSettings:
        """The inverse of ``to_dict``; missing fields take their defaults.

        Raises:
            ValueError: an unknown field or a value out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"data settings: unknown field {name!r}, expected some of {', '.join(known)}")
        return cls(**values)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each axis (x, y, z) in metres, over all joints and frames of the training split
    after downsampling and filters; an axis that does not vary has standard deviation 1.

    Raises:
        ValueError: not three finite numbers each, or a standard deviation that is not positive.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.shape != (3,) or not np.isfinite(values).all() or (name == "std" and not (values > 0).all()):
                kind = "finite" if name == "mean" else "finite positive"
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected three {kind} numbers")
            if (np.abs(values) > _LARGEST).any() or (name == "std" and (values < 1 / _LARGEST).any()):
                kind = f"{-_LARGEST:g} to" if name == "mean" else f"{1 / _LARGEST:g} to"
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected numbers from {kind} {_LARGEST:g}")
            object.__setattr__(self, name, tuple(float(v) for v in values))

    @classmethod
    def of(cls, motions: Iterable[np.ndarray]) -> Statistics:
        """The statistics of motions (frames, J, 3), summed in float64 in two passes.

        Raises:
            ValueError: no frames at all.
        """
        arrays = [motion.reshape(-1, 3) for motion in motions]
        count = sum(map(len, arrays))
        if count == 0:
            raise ValueError("motions: got no frames, expected at least one")
        mean = sum(a.sum(axis=0, dtype=np.float64) for a in arrays) / count
        std = np.sqrt(sum(np.square(a - mean).sum(axis=0) for a in arrays) / count)
        return cls(mean=tuple(mean), std=tuple(np.where(std < _FLAT, 1.0, std)))

    def apply(self, joints: _Array) -> _Array:
        """Standardises positions (..., 3) in metres; an array gives float32, a tensor keeps its dtype."""
        if isinstance(joints, torch.Tensor):
            return (joints - joints.new_tensor(self.mean)) / joints.new_tensor(self.std)
        mean, std = np.asarray(self.mean, dtype=np.float32), np.asarray(self.std, dtype=np.float32)
        return ((joints - mean) / std).astype(np.float32, copy=False)

    def invert(self, frames: _Array) -> _Array:
        """Metres again, from standardised positions (..., 3): the inverse of ``apply``."""
        if isinstance(frames, torch.Tensor):
            return frames * frames.new_tensor(self.std) + frames.new_tensor(self.mean)
        mean, std = np.asarray(self.mean, dtype=np.float32), np.asarray(self.std, dtype=np.float32)
        return (frames * std + mean).astype(np.float32, copy=False)

    def to_dict(self) -> dict[str, list[float]]:
        """The fields as a JSON-ready dictionary; JSON keeps every bit of them."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Statistics:
        """The inverse of ``to_dict``.

        Raises:
            ValueError: a missing or unknown field, or values out of range.
        """
        if set(values) != {"mean", "std"}:
            raise ValueError(f"statistics: got fields {sorted(values)}, expected mean and std")
        return cls(mean=values["mean"], std=values["std"])


def downsample(joints: np.ndarray, settings: DataSettings) -> np.ndarray:
    """The kept frames of a motion (frames, J, 3): ``first_frame``, then every ``downsample``-th (20 Hz to 10 Hz: frames
    1, 3, 5, ...). At least one frame stays: a motion that ends before ``first_frame`` keeps its last."""
    return joints[min(settings.first_frame, len(joints) - 1) :: settings.downsample]


def downsample_segments(segments: list[Segment], frames: int, settings: DataSettings) -> list[Segment]:
    """Segments of a motion of ``frames`` raw frames, in indices of the kept frames (end exclusive).

    A segment holds the kept frames that lie in it, so segments that tile the motion still do; one so short that none
    does holds the nearest kept frame.
    """
    step, first = settings.downsample, min(settings.first_frame, frames - 1)
    kept = len(range(first, frames, step))

    def kept_before(frame: int) -> int:
        return len(range(first, frame, step))

    def range_of(start: int, end: int) -> tuple[int, int]:
        first_kept = min(kept_before(start), kept - 1)
        return first_kept, max(kept_before(end), first_kept + 1)

    converted = []
    for segment in segments:
        start, end = range_of(segment.start, segment.end)
        active = segment.active and range_of(*segment.active)
        converted.append(dataclasses.replace(segment, start=start, end=end, active=active))
    return converted


@dataclass
class FilteredMotion:
    """A motion that passed the filters: its kept frames (T, J, 3) float32 in metres, its captions with their words, and
    its segments in kept frames."""

    id: str
    joints: np.ndarray
    captions: list[tuple[Caption, list[str]]]
    segments: list[Segment] | None


def filter_motions(
    motions: list[RawMotion], split: str, settings: DataSettings
) -> tuple[list[FilteredMotion], dict[str, Any]]:
    """Downsamples one split and drops what the settings exclude.

    Returns:
        the motions left, and the counts ``{"motions": {"read", "kept"}, "captions": {"read", "kept"}, "dropped":
        {filter: how many}}``: motions by ``min_frames``, ``max_frames``, ``max_frames_train`` and ``min_captions``,
        captions by ``max_tokens`` and ``no_words`` (nothing but punctuation). A motion counts at the first filter
        that drops it.

    Raises:
        UserError: the filters leave no motion in a split that had some.
    """
    kept: list[FilteredMotion] = []
    filters = ("min_frames", "max_frames", "max_frames_train", "max_tokens", "no_words", "min_captions")
    dropped = dict.fromkeys(filters, 0)
    for motion in motions:
        frames = len(motion.joints)
        joints = downsample(motion.joints, settings)
        if settings.min_frames is not None and frames < settings.min_frames:
            dropped["min_frames"] += 1
        elif settings.max_frames is not None and frames > settings.max_frames:
            dropped["max_frames"] += 1
        elif split == "train" and settings.max_frames_train is not None and len(joints) > settings.max_frames_train:
            dropped["max_frames_train"] += 1
        else:
            captions = []
            numbers = []
            for number, caption in enumerate(motion.captions):
                words = tokenise(caption.text)
                if not words:
                    dropped["no_words"] += 1
                elif settings.max_tokens is not None and len(words) > settings.max_tokens:
                    dropped["max_tokens"] += 1
                else:
                    captions.append((caption, words))
                    numbers.append(number)
            if len(captions) < settings.min_captions:
                dropped["min_captions"] += 1
                continue
            segments = None
            if motion.segments is not None:
                segments = [
                    dataclasses.replace(segment, words=tuple(segment.words[n] for n in numbers if segment.words))
                    for segment in downsample_segments(motion.segments, frames, settings)
                ]
            kept.append(FilteredMotion(motion.id, joints, captions, segments))
    if motions and not kept:
        by = ", ".join(
            f"{counted(count, 'caption' if name in ('max_tokens', 'no_words') else 'motion')} by {name}"
            + (f" ({getattr(settings, name)})" if name != "no_words" else "")
            for name, count in dropped.items()
            if count
        )
        raise UserError(
            f"{split}: the data settings leave nothing of {counted(len(motions), 'motion')}: dropped {by}; relax these"
        )
    report = {
        "motions": {"read": len(motions), "kept": len(kept)},
        "captions": {"read": sum(len(m.captions) for m in motions), "kept": sum(len(m.captions) for m in kept)},
        "dropped": dropped,
    }
    return kept, report
