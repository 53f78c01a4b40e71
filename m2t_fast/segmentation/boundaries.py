"""Moves boundaries between segments off the grid, by the sums beside them and by the windows of the words there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m2t_fast.segmentation.captions import WindowCaptions

_NEAR = (-2, -1, 0, 1, 2)  # points of the grid around a boundary to which the segments before and after it may reach
EVIDENCE = 1 + 2 * len(_NEAR)
"""Numbers that indicate where a boundary lies."""
_FARTHEST = 0.75  # seconds between a boundary found and a known one that count as the same
_RIDGE = 10.0  # weight of the penalty on standardised weights
_LARGEST = 0.5  # seconds that a boundary is moved at most: a step of the usual grid


@dataclass(frozen=True)
class Refinement:
    """Says from a boundary's evidence how many seconds after it the true one lies: ``weight`` times evidence, plus
    ``bias``; what is not there counts as its ``mean``. ``mean`` and ``weight`` (EVIDENCE,), ``bias`` (); float32."""

    mean: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def of_sums(cls) -> Refinement:
        """The vertex of the parabola alone."""
        weight = torch.zeros(EVIDENCE)
        weight[0] = 1.0
        return cls(torch.zeros(EVIDENCE), weight, torch.zeros(()))

    def shifts(self, evidence: np.ndarray) -> np.ndarray:
        """(N,) float64 seconds from (N, EVIDENCE), at most half a second either way."""
        known = np.where(np.isfinite(evidence), evidence, self.mean.numpy()).astype(np.float64)
        found: np.ndarray = np.clip(known @ self.weight.double().numpy() + float(self.bias), -_LARGEST, _LARGEST)
        return found

    @classmethod
    def fit(cls, evidence: np.ndarray, offsets: np.ndarray) -> Refinement:
        """Ridge regression of standardised evidence (N, EVIDENCE) against the seconds (N,) to the nearest known one.

        Boundaries more than three quarters of a second from a known one do not count; :meth:`of_sums` if no more are
        left than there are numbers.
        """
        same = np.abs(offsets) <= _FARTHEST
        x, y = evidence[same].astype(np.float64), offsets[same]
        if len(x) <= EVIDENCE:
            return cls.of_sums()
        there = np.isfinite(x)
        mean = np.where(there, x, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        centred = np.where(there, x - mean, 0.0)
        std = np.maximum(np.sqrt((centred**2).sum(axis=0) / np.maximum(there.sum(axis=0), 1)), 1e-6)
        x = centred / std
        bias = y.mean()
        weight = np.linalg.solve(x.T @ x + _RIDGE * np.eye(EVIDENCE), x.T @ (y - bias)) / std
        values = (mean, weight, bias - mean @ weight)
        return cls(*(torch.tensor(value, dtype=torch.float32) for value in values))


def boundary_evidence(captions: WindowCaptions, quality: np.ndarray, cuts: Sequence[int], fps: float) -> np.ndarray:
    """(N, EVIDENCE) float32 of the N boundaries between the N + 1 stretches that points of the grid ``cuts`` bound.

    All are seconds after the boundary, NaN where a window does not exist. First the vertex of the parabola
    (:func:`vertex`). Then, for windows that begin where the stretch before the boundary does and end up to two points
    of the grid before or after the boundary, where the Gaussian window of the last content word ends (mean + sqrt(3)
    standard deviations); and for windows that end where the stretch after it does, where that of the first begins.
    """
    place = {(int(a), int(b)): row for row, (a, b) in enumerate(captions.windows)}
    points = np.unique(captions.windows).tolist()
    number = {point: at for at, point in enumerate(points)}
    first_mean, first_std, last_mean, last_std = captions.attention.T[4:]
    begins, ends = first_mean - np.sqrt(3) * first_std, last_mean + np.sqrt(3) * last_std  # shares of the window
    found = np.full((max(0, len(cuts) - 2), EVIDENCE), np.nan, np.float32)
    for row, (before, cut, after) in enumerate(zip(cuts, cuts[1:], cuts[2:], strict=False)):
        near = [points[number[cut] + step] if 0 <= number[cut] + step < len(points) else before for step in _NEAR]
        sums = []
        for column, point in enumerate(near):
            left, right = place.get((before, point)), place.get((point, after))
            if left is not None:
                found[row, 1 + column] = before + ends[left] * (point - before) - cut
            if right is not None:
                found[row, 1 + len(_NEAR) + column] = point + begins[right] * (after - point) - cut
            both = left is not None and right is not None
            sums.append(quality[left] * (point - before) + quality[right] * (after - point) if both else np.nan)
        found[row, 0] = vertex(sums[1:4], near[1:4])
    return found / np.float32(fps)


def vertex(sums: Sequence[float], near: Sequence[int]) -> float:
    """Frames from the middle of three points to the vertex of the parabola through their sums, at most half a step; 0
    where it has none."""
    bend = sums[0] - 2 * sums[1] + sums[2]
    if not (np.isfinite(bend) and bend < 0):
        return 0.0
    shift = min(0.5, max(-0.5, 0.5 * (sums[0] - sums[2]) / bend))
    return float(shift * (near[2] - near[1] if shift > 0 else near[1] - near[0]))


def moved(cuts: Sequence[int], shifts: np.ndarray, fps: float) -> list[int]:
    """The cuts with the inner ones moved by seconds (N,), to the frame; each stretch keeps at least a frame."""
    found = list(cuts)
    for place, shift in enumerate(shifts.tolist(), 1):
        found[place] = min(max(round(cuts[place] + shift * fps), found[place - 1] + 1), cuts[place + 1] - 1)
    return found
