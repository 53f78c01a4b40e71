"""The preprocessed data set: ragged tensors per split, and how raw data becomes one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2t_fast.data.faults import Fault
from m2t_fast.data.matching import ActionNames
from m2t_fast.data.preprocessing import DataSettings, FilteredMotion, Statistics, filter_motions
from m2t_fast.data.raw import RawData, Segment
from m2t_fast.data.supervision import UNSUPERVISED, targets
from m2t_fast.data.tagging import caption_tags, processed_words
from m2t_fast.data.timing import UNTIMED, temporal_targets
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.skeleton import PART_NAMES, Skeleton
from m2t_fast.wording import counted


@dataclass
class MotionDataset:
    """One split with N motions and M samples; a sample is a (motion, caption) pair. ``len`` is M.

    Attributes:
        frames: (sum of T, J, 3) float32, absolute positions, standardised, motion after motion.
        frame_offsets: (N+1,) int64; motion n is ``frames[frame_offsets[n]:frame_offsets[n + 1]]``.
        tokens: (sum,) int64, caption after caption, each from <sos> to <eos>.
        token_offsets: (M+1,) int64.
        gate_targets: (sum,) int8 aligned with ``tokens``: 1 motion word, 0 non-motion word, -1 unsupervised.
        spatial_targets: (sum, P) int8 aligned with ``tokens``: 1 or 0 per part, -1 unsupervised.
        caption_motion: (M,) int64, the motion of each sample; ascending.
        ids: N motion ids.
        references: per motion its captions in sample order, raw words joined by spaces (rare words as written).
        processed: like ``references``, in the lemmatised tokens of the text files; "" for a caption without tokens.
        segments: per motion its action segments in kept frames, None where it has none; None if no motion has any.
        faults: what was left out because it cannot be used; what the filters drop is not among it.
        temporal_targets: (sum, 2) float32 aligned with ``tokens``: start and end of the segment that a word names, in
            kept frames (frame k covers k - 0.5 to k + 0.5), or -1 and -1; None if no motion has segments.
    """

    split: str
    frames: Tensor
    frame_offsets: Tensor
    tokens: Tensor
    token_offsets: Tensor
    gate_targets: Tensor
    spatial_targets: Tensor
    caption_motion: Tensor
    ids: list[str]
    references: list[list[str]]
    processed: list[list[str]]
    segments: list[list[Segment] | None] | None
    skeleton: Skeleton
    statistics: Statistics
    settings: DataSettings
    faults: tuple[Fault, ...] = ()
    temporal_targets: Tensor | None = None

    def __len__(self) -> int:
        return self.caption_motion.numel()

    @property
    def motions(self) -> int:
        """N, the number of motions."""
        return len(self.ids)

    @property
    def fps(self) -> float:
        """Kept frames per second."""
        return self.skeleton.fps / self.settings.downsample

    @property
    def start(self) -> float:
        """Time of kept frame 0 in seconds of the motion as distributed."""
        return self.settings.first_frame / self.skeleton.fps

    @property
    def motion_lengths(self) -> Tensor:
        """(N,) int64, kept frames of each motion."""
        return self.frame_offsets.diff()

    @property
    def sample_lengths(self) -> Tensor:
        """(M,) int64, kept frames of each sample's motion."""
        return self.motion_lengths[self.caption_motion]

    def motion(self, number: int) -> Tensor:
        """(T, J, 3) standardised positions of one motion; ``statistics.invert`` gives metres.

        Raises:
            ValueError: no such motion.
        """
        if not 0 <= number < self.motions:
            raise ValueError(
                f"number: got {number}, expected 0 to {self.motions - 1} ({counted(self.motions, 'motion')})"
            )
        return self.frames[int(self.frame_offsets[number]) : int(self.frame_offsets[number + 1])]


@dataclass
class Prepared:
    """All splits of a data set with what they share.

    ``report[split]`` says what the filters did: ``{"motions": {"read", "kept"}, "captions": {"read", "kept"},
    "dropped": {filter: count}}``. ``prepared["train"]`` is ``prepared.splits["train"]``.
    """

    vocabulary: Vocabulary
    statistics: Statistics
    settings: DataSettings
    skeleton: Skeleton
    splits: dict[str, MotionDataset]
    report: dict[str, dict[str, Any]]
    source: str

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What was left out of all splits because it cannot be used."""
        return tuple(fault for split in self.splits.values() for fault in split.faults)

    def __getitem__(self, split: str) -> MotionDataset:
        if split not in self.splits:
            raise KeyError(f"split {split!r}: not loaded, expected one of {', '.join(self.splits)}")
        return self.splits[split]


def prepare(
    raw: RawData,
    settings: DataSettings | None = None,
    vocabulary: Vocabulary | None = None,
    statistics: Statistics | None = None,
    grow: bool = False,
) -> Prepared:
    """Filters, downsamples, standardises and tokenises raw data; vocabulary and statistics, where not given, are made
    from the training split. A caption with a start and an end describes its whole motion like any other. With ``grow``
    the words of the training split are added to the vocabulary that is given.

    Raises:
        UserError: the filters leave a split without motions.
        ValueError: vocabulary or statistics are needed and there is no training split.
    """
    settings = settings or DataSettings()
    kept: dict[str, list[FilteredMotion]] = {}
    report: dict[str, dict[str, Any]] = {}
    for split, motions in raw.splits.items():
        kept[split], report[split] = filter_motions(motions, split, settings)
    if not kept.get("train"):
        for name, value in (("vocabulary", vocabulary), ("statistics", statistics)):
            if value is None:
                raise ValueError(f"{name}: got None, expected one, since there is no training split to make it from")
    if vocabulary is None or grow:
        known = vocabulary or Vocabulary()
        vocabulary = known.grown((words for m in kept.get("train", ()) for _, words in m.captions), settings.min_count)
    if statistics is None:
        statistics = Statistics.of(m.joints for m in kept["train"])
    splits = {split: _build(split, motions, raw, settings, vocabulary, statistics) for split, motions in kept.items()}
    return Prepared(vocabulary, statistics, settings, raw.skeleton, splits, report, raw.source)


def _build(
    split: str,
    motions: list[FilteredMotion],
    raw: RawData,
    settings: DataSettings,
    vocabulary: Vocabulary,
    statistics: Statistics,
) -> MotionDataset:
    frames = torch.empty(sum(len(m.joints) for m in motions), raw.skeleton.joints, 3, device="cpu")
    frame_offsets = _offsets(len(m.joints) for m in motions)
    for number, motion in enumerate(motions):
        frames[frame_offsets[number] : frame_offsets[number + 1]] = torch.from_numpy(statistics.apply(motion.joints))
    captions = [(caption, words) for m in motions for caption, words in m.captions]
    encoded = [vocabulary.encode(words) for _, words in captions]
    token_offsets = _offsets(map(len, encoded))
    gate = np.full(int(token_offsets[-1]), UNSUPERVISED, dtype=np.int8)
    spatial = np.full((len(gate), len(PART_NAMES)), UNSUPERVISED, dtype=np.int8)
    for start, (caption, words) in zip(token_offsets.tolist(), captions, strict=False):
        inner = slice(start + 1, start + 1 + len(words))  # <sos> and <eos> stay unsupervised
        gate[inner], spatial[inner] = targets(words, caption_tags(words, caption.tags))
    segments = [m.segments for m in motions] if any(m.segments is not None for m in motions) else None
    counts = torch.tensor([len(m.captions) for m in motions], dtype=torch.int64, device="cpu")
    return MotionDataset(
        split=split,
        frames=frames,
        frame_offsets=frame_offsets,
        tokens=torch.from_numpy(np.fromiter((t for ids in encoded for t in ids), np.int64, len(gate))),
        token_offsets=token_offsets,
        gate_targets=torch.from_numpy(gate),
        spatial_targets=torch.from_numpy(spatial),
        caption_motion=torch.repeat_interleave(torch.arange(len(motions), device="cpu"), counts),
        ids=[m.id for m in motions],
        references=[[" ".join(words) for _, words in m.captions] for m in motions],
        processed=[[" ".join(processed_words(caption.tags or ())) for caption, _ in m.captions] for m in motions],
        segments=segments,
        skeleton=raw.skeleton,
        statistics=statistics,
        settings=settings,
        faults=tuple(fault for fault in raw.faults if fault.split == split),
        temporal_targets=None if segments is None else _times_of(motions, ActionNames.of(segments)),
    )


def _times_of(motions: list[FilteredMotion], names: ActionNames) -> Tensor:
    """(sum, 2) float32, caption after caption, with <sos> and <eos>, which have no time."""
    untimed = np.full((1, 2), UNTIMED, np.float32)
    times = [
        rows
        for m in motions
        for own in temporal_targets([words for _, words in m.captions], m.segments, names)
        for rows in (untimed, own, untimed)
    ]
    return torch.from_numpy(np.concatenate(times)) if times else torch.empty(0, 2, device="cpu")


def _offsets(lengths: Iterable[int]) -> Tensor:
    return torch.tensor([0, *lengths], dtype=torch.int64, device="cpu").cumsum(0)
