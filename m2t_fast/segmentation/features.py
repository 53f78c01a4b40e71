"""What distinguishes a window of one whole segment from others: its caption and the captions around it."""

from __future__ import annotations

import numpy as np

from m2t_fast.segmentation.captions import WindowCaptions
from m2t_fast.segmentation.windows import Grid

_SHIFTS = ((1, 0), (-1, 0), (0, 1), (0, -1), (-2, 0), (0, 2), (2, 0), (0, -2))  # grid points that start and end move
_ASIDE = 3.0  # seconds before and after a window whose captions are compared with its own
_CHUNK = 2048  # starts that are worked on together; bounds the memory of long takes

FEATURES = 8 + 9 + 2 * len(_SHIFTS) + 4
"""Numbers of a window."""


def window_features(captions: WindowCaptions, fps: float, grid: Grid) -> np.ndarray:
    """(W, FEATURES) float32 of every window.

    The caption: mean and total log-probability, its words, words that join actions, the window's seconds, where the
    content words look. Around it: how probability and content words change when start or end move by one or two grid
    points, how far the windows inside it say the same, how far those beside it do, and how much more probable than its
    own the best caption inside it is. Content words are compared as sets of stems, by intersection over union.
    """
    points = np.unique(captions.windows)
    table = _Table(captions, points)
    features = np.zeros((len(captions.windows), FEATURES), np.float32)
    seconds = (captions.windows[:, 1] - captions.windows[:, 0]) / fps
    mean = captions.log_probability / captions.steps
    own = (
        mean,
        captions.log_probability,
        captions.steps,
        captions.joined,
        captions.joined > 0,
        seconds,
        np.log(np.maximum(seconds, 1e-3)),
        seconds**2,
        *captions.attention.T,
        (captions.content >= 0).sum(axis=1),
    )
    features[:, : len(own)] = np.stack(own, axis=1)
    for first in range(0, len(captions.windows), _CHUNK * 8):
        rows = np.arange(first, min(first + _CHUNK * 8, len(captions.windows)))
        features[rows, len(own) :] = np.stack([*table.shifted(rows), *table.around(rows, grid)], axis=1)
    return features


class _Table:
    """Windows by the numbers of the grid points at which they start and end."""

    def __init__(self, captions: WindowCaptions, points: np.ndarray):
        self.start, self.end = np.searchsorted(points, captions.windows).T
        self.longest = int((self.end - self.start).max())
        # place[i, k]: the window from point i to point i + k, -1 where there is none.
        self.place = np.full((len(points), self.longest + 1), -1, np.int64)
        self.place[self.start, self.end - self.start] = np.arange(len(captions.windows))
        self.mean = captions.log_probability / captions.steps
        self.content = _membership(captions.content)
        self.size = self.content.sum(axis=1, dtype=np.int64)
        self.points = points

    def at(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The windows between points; -1 where there is none."""
        length = end - start
        exists = (start >= 0) & (end < len(self.points)) & (length >= 0) & (length <= self.longest)
        found = self.place[np.where(exists, start, 0), np.where(exists, length, 0)]
        return np.where(exists, found, -1)

    def alike(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Intersection over union of content words, 0 where neither window has any; ``others`` must exist."""
        both = np.einsum("ws,ws->w", self.content[rows], self.content[others]).astype(np.int64)
        return both / np.maximum(self.size[rows] + self.size[others] - both, 1)

    def shifted(self, rows: np.ndarray) -> list[np.ndarray]:
        """Two numbers per shift: change of the mean log-probability, similarity of the content (-1: no such window)."""
        found = []
        for start, end in _SHIFTS:
            other = self.at(self.start[rows] + start, self.end[rows] + end)
            there = other >= 0
            change, alike = np.zeros(len(rows)), np.full(len(rows), -1.0)
            change[there] = self.mean[other[there]] - self.mean[rows[there]]
            alike[there] = self.alike(rows[there], other[there])
            found += [change, alike]
        return found

    def around(self, rows: np.ndarray, grid: Grid) -> list[np.ndarray]:
        """Similarity inside, before and after, and how far the best mean log-probability inside exceeds its own."""
        length = self.end[rows] - self.start[rows]
        sums, counts, best = np.zeros(len(rows)), np.zeros(len(rows)), self.mean[rows].astype(np.float64)
        for cut_start in range(self.longest // 2 + 1):
            for cut_end in range(self.longest // 2 + 1 - cut_start):
                some = np.flatnonzero(2 * (cut_start + cut_end) <= length)
                other = self.at(self.start[rows[some]] + cut_start, self.end[rows[some]] - cut_end)
                some, other = some[other >= 0], other[other >= 0]
                sums[some] += self.alike(rows[some], other)
                counts[some] += 1
                best[some] = np.maximum(best[some], self.mean[other])
        aside = round(_ASIDE / grid.step)
        shortest = max(1, round(grid.shortest / grid.step))
        sides = []
        for before in (True, False):
            total, number = np.zeros(len(rows)), np.zeros(len(rows))
            for near in range(aside):
                for size in range(shortest, 2 * aside + 1):
                    start = self.start[rows] - near - size if before else self.end[rows] + near
                    other = self.at(start, start + size)
                    there = other >= 0
                    total[there] += self.alike(rows[there], other[there])
                    number[there] += 1
            sides.append(total / np.maximum(number, 1))
        return [sums / np.maximum(counts, 1), *sides, best - self.mean[rows]]


def _membership(content: np.ndarray) -> np.ndarray:
    """(W, S) uint8: 1 where a row of (W, WORDS) numbers holds the s-th of the S different numbers from 0 on."""
    numbers = np.unique(content[content >= 0])
    rows, places = np.nonzero(content >= 0)
    member = np.zeros((len(content), len(numbers)), np.uint8)
    member[rows, np.searchsorted(numbers, content[rows, places])] = 1
    return member
