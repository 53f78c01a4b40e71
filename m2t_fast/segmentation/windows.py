"""The windows of a take: every stretch between two points of a grid, placed as training motions are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from m2t_fast.motion.placement import facings, turned
from m2t_fast.skeleton import Skeleton


@dataclass(frozen=True)
class Grid:
    """Which windows of a take are captioned, in seconds: they begin and end on multiples of ``step`` or at the end of
    the take, and last from ``shortest`` to ``longest``.

    Raises:
        ValueError: not 0 < step <= shortest, or longest below twice shortest (some takes could not be tiled).
    """

    step: float = 0.5
    shortest: float = 1.0
    longest: float = 10.0

    def __post_init__(self) -> None:
        if not 0.0 < self.step <= self.shortest:
            raise ValueError(f"step: got {self.step!r}, expected seconds above 0, at most shortest ({self.shortest!r})")
        if not 2.0 * self.shortest <= self.longest < np.inf:
            raise ValueError(f"longest: got {self.longest!r}, expected at least twice shortest ({self.shortest!r})")

    def windows(self, frames: int, fps: float) -> np.ndarray:
        """(W, 2) int64 first frame and end (exclusive) of every window of a take of ``frames`` frames, by their start.

        A take shorter than ``shortest`` is one window.
        """
        count = int(frames / fps / self.step) + 1
        points = np.unique(np.append(np.rint(np.arange(count) * self.step * fps).astype(np.int64), frames))
        points = points[points <= frames]
        slack = 0.5  # a frame is as near as points on frames come to the grid
        shortest, longest = self.shortest * fps - slack, self.longest * fps + slack
        windows = [
            (start, end)
            for first, start in enumerate(points)
            for end in points[first + 1 :][: round(self.longest / self.step) + 1]
            if shortest <= end - start <= longest
        ]
        return np.array(windows or [(0, frames)], dtype=np.int64)


def placed(joints: np.ndarray, windows: np.ndarray, skeleton: Skeleton) -> Iterator[np.ndarray]:
    """Each window of joints (T, J, 3), Y up, as :func:`~m2t_fast.motion.placement.place` would place it.

    Windows that begin together are turned together, so the work for a take grows with its length alone.

    Args:
        joints: the take.
        windows: (W, 2), those with the same start one after the other, as :meth:`Grid.windows` gives them.
        skeleton: tells which way a body faces.
    """
    for frames, alike in placed_together(joints, windows, skeleton):
        for start, end in windows[alike].tolist():
            yield frames[: end - start]


def placed_together(
    joints: np.ndarray, windows: np.ndarray, skeleton: Skeleton
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The windows of :func:`placed`, those together that begin together, on the same floor and with the same turn: what
    the longest of them is placed as begins with all others, bit for bit.

    Yields:
        The frames (n, J, 3) of the longest, and the numbers (N,) int64 of all of them, ascending.
    """
    angles = facings(joints, skeleton)
    lowest = joints[..., 1].min(axis=1)
    telling = np.flatnonzero(np.isfinite(angles))
    for start, group in groupby(range(len(windows)), key=lambda number: int(windows[number, 0])):
        numbers = list(group)
        ends = windows[numbers, 1]
        longest = int(ends.max())
        near = np.searchsorted(telling, start)
        first = int(telling[near]) if near < len(telling) else len(joints)
        moved = joints[start:longest] - joints[start, 0]
        faced = turned(moved, angles[first]) if first < longest else moved
        floor = np.minimum.accumulate(lowest[start:longest]) - joints[start, 0, 1]
        placements = zip((ends > first).tolist(), floor[ends - start - 1].tolist(), numbers, strict=True)
        for (turns, low), some in groupby(placements, key=lambda placement: placement[:2]):
            alike = np.array([number for _, _, number in some])
            frames = (faced if turns else moved)[: int(windows[alike, 1].max()) - start].copy()
            frames[..., 1] -= low
            yield frames, alike
