"""Scores of segments found in takes whose segments are known: when they happen, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from nltk.translate.meteor_score import meteor_score

from m2t_fast.data.matching import word_stem
from m2t_fast.evaluation import metrics

THRESHOLDS: tuple[float, ...] = (0.3, 0.5, 0.7)
"""Intersections over union in time (tIoU) from which a segment counts as found."""
CAPTIONS_FROM = 0.5
"""tIoU from which the captions of two segments are compared."""


class Timed(Protocol):
    """A stretch of time: ``start`` and ``end`` in any one unit."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


class Spoken(NamedTuple):
    """A segment as scores compare it: seconds, and its caption or, of a known one, all its captions; ``names``: for
    each action that happens in a known one the stems of the words that name it."""

    start: float
    end: float
    captions: tuple[str, ...]
    names: tuple[frozenset[str], ...] = ()


def tiou(first: Timed, second: Timed) -> float:
    """Intersection over union of two stretches of time, 0 to 1."""
    common = max(0.0, min(first.end, second.end) - max(first.start, second.start))
    union = (first.end - first.start) + (second.end - second.start) - common
    return common / union if union > 0 else 0.0


def matched(found: Sequence[Timed], known: Sequence[Timed], threshold: float) -> list[tuple[int, int]]:
    """Pairs (number found, number known) with a tIoU of at least ``threshold``, each segment once, best pairs first."""
    pairs = [(tiou(f, k), i, j) for i, f in enumerate(found) for j, k in enumerate(known)]
    taken: list[tuple[int, int]] = []
    for value, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if value >= threshold and value > 0 and all(i != a and j != b for a, b in taken):
            taken.append((i, j))
    return taken


def segment_scores(found: Sequence[Sequence[Spoken]], known: Sequence[Sequence[Spoken]]) -> dict[str, float | None]:
    """Scores over takes; of each take the segments found and known, in order.

    Returns:
        ``f1_30``, ``f1_50``, ``f1_70``: harmonic mean of precision and recall over all segments of all takes at a tIoU
        of 0.3, 0.5 and 0.7, 0 to 1. ``iou``: mean over known segments of the best tIoU with one found.
        ``boundary_error``: median distance in seconds from a boundary between two known segments to the nearest one
        found (None: there is none). ``count``: segments found per known one. ``matched``: pairs with a tIoU of at
        least 0.5; over their captions ``bleu_4``, 0 to 100, ``cider`` where the package pycocoevalcap is installed
        (None without pairs), and ``content``, the share of pairs whose caption names every action of the known segment
        (None where no actions are known). ``soda``: see :func:`soda`, 0 to 1.

    Raises:
        ValueError: not as many takes in both, or none.
    """
    if len(found) != len(known) or not found:
        raise ValueError(f"found, known: got {len(found)} and {len(known)} takes, expected the same, at least one")
    scores: dict[str, float | None] = {}
    total = sum(map(len, found)) + sum(map(len, known))
    for threshold in THRESHOLDS:
        hits = sum(len(matched(f, k, threshold)) for f, k in zip(found, known, strict=True))
        scores[f"f1_{round(100 * threshold)}"] = 2.0 * hits / total
    best = [max((tiou(f, k) for f in fs), default=0.0) for fs, ks in zip(found, known, strict=True) for k in ks]
    scores["iou"] = float(np.mean(best))
    errors = [e for fs, ks in zip(found, known, strict=True) for e in _boundary_errors(fs, ks)]
    scores["boundary_error"] = float(np.median(errors)) if errors else None
    scores["count"] = sum(map(len, found)) / sum(map(len, known))
    pairs = [(fs[i], ks[j]) for fs, ks in zip(found, known, strict=True) for i, j in matched(fs, ks, CAPTIONS_FROM)]
    scores["matched"] = len(pairs)
    captions = [f.captions[0] for f, _ in pairs]
    said = metrics.score(captions, [list(k.captions) for _, k in pairs]) if pairs else {}
    scores["bleu_4"], scores["cider"] = said.get("bleu_4"), said.get("cider")
    right = [_names_all(f.captions[0], k.names) for f, k in pairs if k.names]
    scores["content"] = float(np.mean(right)) if right else None
    scores["soda"] = float(np.mean([soda(f, k) for f, k in zip(found, known, strict=True)]))
    return scores


def _names_all(caption: str, names: Sequence[frozenset[str]]) -> bool:
    """Whether a word of the caption names each of the actions."""
    stems = {word_stem(word) for word in caption.split()}
    return all(stems & own for own in names)


def _boundary_errors(found: Sequence[Timed], known: Sequence[Timed]) -> list[float]:
    """For every boundary between known segments the distance to the nearest boundary found; a pause is one boundary."""
    points = np.array([point for segment in found for point in (segment.start, segment.end)])
    inner = [(a.end + b.start) / 2 for a, b in zip(known, known[1:], strict=False)]
    return [float(np.abs(points - point).min()) for point in inner] if len(points) else []


def soda(found: Sequence[Spoken], known: Sequence[Spoken]) -> float:
    """Story-oriented score of a take's captions, 0 to 1 (Fujita et al., ECCV 2020, its form c).

    Segments are matched in order so that the sum of tIoU times caption score is largest; the score is the harmonic mean
    of that sum over the segments found and over those known. A caption is scored by METEOR against all captions of the
    known segment, by words and stems: WordNet's synonyms are left out, so that nothing has to be downloaded.
    """
    if not found or not known:
        return 0.0
    value = np.array(
        [[tiou(f, k) * _meteor(f.captions[0], k.captions) if tiou(f, k) else 0.0 for k in known] for f in found]
    )
    best = np.zeros((len(found) + 1, len(known) + 1))
    for i in range(len(found)):
        for j in range(len(known)):
            best[i + 1, j + 1] = max(best[i, j + 1], best[i + 1, j], best[i, j] + value[i, j])
    total = best[-1, -1]
    precision, recall = total / len(found), total / len(known)
    return float(2 * precision * recall / (precision + recall)) if total > 0 else 0.0


class _NoSynonyms:
    """Takes WordNet's place in NLTK's METEOR."""

    def synsets(self, word: str) -> list[str]:
        return []


def _meteor(caption: str, references: Sequence[str]) -> float:
    return float(meteor_score([reference.split() for reference in references], caption.split(), wordnet=_NoSynonyms()))
