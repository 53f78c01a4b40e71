"""What the attention finds, measured: when actions happen, which body parts perform them, which words need the motion.

The times and body parts of actions are those of a data set's segments; ``matching`` says which word names which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.matching import ActionNames, annotated_words, match_words
from m2t_fast.data.raw import Segment
from m2t_fast.interpretation.statistics import MOTION, NO_MOTION, WordRecord, captions_of
from m2t_fast.skeleton import PART_NAMES

WIDTH = math.sqrt(3.0)
"""Half the range of a word in standard deviations of its window. Attention spread evenly over an action of d frames has
the standard deviation d / sqrt(12), so that mean +- sqrt(3) sigma is then the action itself."""

HIT = 0.5
"""Least intersection over union of an action that counts as found."""

TIMES: tuple[str, ...] = ("segments", "active")


class Range(NamedTuple):
    """A stretch of time in kept frames, fractional; frame k covers k - 0.5 to k + 0.5."""

    start: float
    end: float


def word_range(mean: float, std: float, frames: int, width: float = WIDTH) -> Range:
    """mean +- width * std (eq. 4), at least one frame wide, cut to a motion of ``frames`` frames."""
    half = max(width * std, 0.5)
    return Range(max(mean - half, -0.5), min(mean + half, frames - 0.5))


def segment_range(segment: Segment, times: str = "segments") -> Range:
    """When an action happens: its segment or, with ``times="active"``, its active frames where these are known."""
    start, end = segment.active if times == "active" and segment.active else (segment.start, segment.end)
    return Range(start - 0.5, end - 0.5)


def overlap(first: Range, second: Range) -> float:
    """Intersection over union of two ranges, 0 to 1."""
    common = max(0.0, min(first.end, second.end) - max(first.start, second.start))
    union = (first.end - first.start) + (second.end - second.start) - common
    return common / union if union > 0 else 0.0


def rank_auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive value is above a negative one, ties counting half.

    NaN where there are no positive or no negative values.
    """
    above, below = np.asarray(positive, dtype=np.float64), np.sort(np.asarray(negative, dtype=np.float64))
    if not above.size or not below.size:
        return math.nan
    smaller = np.searchsorted(below, above, side="left")
    not_larger = np.searchsorted(below, above, side="right")
    return float((smaller + not_larger).sum() / (2.0 * above.size * below.size))


class Match(NamedTuple):
    """A word that names an action, what the attention says about it and what is true."""

    record: WordRecord
    number: int
    """Of the segment in its motion."""
    segment: Segment
    found: Range
    true: Range
    whole: Range
    several: bool
    """Whether more than one action happens in the motion."""


def matches_of(
    records: Sequence[WordRecord],
    dataset: MotionDataset,
    references: bool,
    width: float = WIDTH,
    times: str = "segments",
) -> tuple[list[Match], int]:
    """The words that name actions, and how many actions they had to name (each segment once per caption).

    Args:
        records: the words of captions of ``dataset``.
        references: the captions are the data set's own; where its segments carry words, these are the words that name
            them, and only named actions count. Otherwise words are matched by ``match_words``.
        width: half the range of a word in standard deviations.
        times: "segments" or "active", see :func:`segment_range`.

    Raises:
        ValueError: ``width`` is not positive, or ``times`` is unknown.
    """
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"width: got {width!r}, expected a positive number of standard deviations")
    if times not in TIMES:
        raise ValueError(f"times: got {times!r}, expected one of {', '.join(TIMES)}")
    if dataset.segments is None:
        return [], 0
    names = ActionNames.of(dataset.segments)
    lengths = dataset.motion_lengths.tolist()
    found: list[Match] = []
    actions = 0
    for caption in captions_of(records):
        segments, frames = dataset.segments[caption[0].motion], lengths[caption[0].motion]
        if not segments:
            continue
        words = [record.word for record in caption]
        if references and all(segment.words for segment in segments):
            numbers = annotated_words(words, segments, caption[0].caption)
            actions += sum(segment.words[caption[0].caption] is not None for segment in segments)
        else:
            numbers = match_words(words, segments, names)
            actions += len(segments)
        for record, number in zip(caption, numbers, strict=True):
            if number is not None:
                span = word_range(record.mean, record.std, frames, width)
                true, whole = segment_range(segments[number], times), Range(-0.5, frames - 0.5)
                found.append(Match(record, number, segments[number], span, true, whole, len(segments) > 1))
    return found, actions


def measure(
    records: Sequence[WordRecord],
    dataset: MotionDataset,
    references: bool,
    width: float = WIDTH,
    times: str = "segments",
) -> dict[str, Any]:
    """The attention of a split in numbers, JSON-ready; None where there is nothing to measure.

    ``words`` (name an action), ``actions`` (to be named) and ``named`` (share of these that a word names);
    ``localisation``: ``onset_error`` (mean absolute, seconds), ``iou`` (mean) and ``hit_rate`` (share of words with an
    IoU of at least ``HIT``) of the words' ranges, ``several`` the same for motions of several actions, and in each
    under ``whole`` the same for a guess that knows nothing: the whole motion. ``parts``: ``accuracy`` (the part with
    most attention is one of the action's), ``limb_accuracy`` (left and right not told apart), ``peak_accuracy`` (by the
    temporal maximum), ``supervised`` and ``unsupervised`` (accuracy by whether training supervises the word's parts),
    and ``chance``. ``gate``: ``auc`` of beta for motion words against non-motion words, and the mean of each.

    Raises:
        ValueError: as :func:`matches_of`.
    """
    found, actions = matches_of(records, dataset, references, width, times)
    named = len({(m.record.motion, m.record.caption, m.number) for m in found})
    gates = {kind: [r.gate for r in records if r.kind == kind] for kind in (MOTION, NO_MOTION)}
    auc = rank_auc(gates[MOTION], gates[NO_MOTION])
    return {
        "words": len(found),
        "actions": actions,
        "named": named / actions if actions else None,
        "localisation": {
            **_times(found, dataset.fps),
            "several": _times([match for match in found if match.several], dataset.fps),
        },
        "parts": _parts(found),
        "gate": {
            "auc": None if math.isnan(auc) else auc,
            "motion_words": len(gates[MOTION]),
            "other_words": len(gates[NO_MOTION]),
            "motion_mean": _mean(gates[MOTION]),
            "other_mean": _mean(gates[NO_MOTION]),
        },
    }


def _times(found: Sequence[Match], fps: float) -> dict[str, Any]:
    def of(guess: Callable[[Match], Range]) -> dict[str, float | None]:
        ious = [overlap(guess(match), match.true) for match in found]
        return {
            "onset_error": _mean(abs(guess(match).start - match.true.start) / fps for match in found),
            "iou": _mean(ious),
            "hit_rate": _mean(iou >= HIT for iou in ious),
        }

    return {"words": len(found), **of(lambda match: match.found), "whole": of(lambda match: match.whole)}


def _parts(found: Sequence[Match]) -> dict[str, Any]:
    def right(match: Match, values: np.ndarray) -> bool:
        return PART_NAMES[int(values.argmax())] in match.segment.parts

    def right_limb(match: Match) -> bool:
        best = PART_NAMES[int(match.record.share.argmax())]
        return limb_of(best) in {limb_of(part) for part in match.segment.parts}

    told = [match for match in found if match.segment.parts]
    return {
        "words": len(told),
        "accuracy": _mean(right(match, match.record.share) for match in told),
        "limb_accuracy": _mean(right_limb(match) for match in told),
        "peak_accuracy": _mean(right(match, match.record.peak) for match in told),
        "supervised": _mean(right(match, match.record.share) for match in told if match.record.supervised),
        "unsupervised": _mean(right(match, match.record.share) for match in told if not match.record.supervised),
        "chance": _mean(len(set(match.segment.parts)) / len(PART_NAMES) for match in told),
    }


def limb_of(part: str) -> str:
    """A body part without its side: "left_arm" is an arm."""
    return part.removeprefix("left_").removeprefix("right_")


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None
