"""The signal processing that measuring needs: smoothing, a cubic spline, peaks."""

from __future__ import annotations

import numpy as np


def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Values (T, ...) under a Gaussian of ``sigma`` frames, cut at four of them; the ends are mirrored."""
    radius = int(4.0 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    padded = np.pad(values, [(radius, radius), *[(0, 0)] * (values.ndim - 1)], mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=0)
    return np.asarray(windows @ (weights / weights.sum()))


def spline(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values (T, ...) at 0, 1, ..., T - 1 as values at ``places`` in that range, by the cubic spline through them.

    Its third derivative is continuous at the second and the last but one value too ("not a knot"); fewer than four
    values are joined by lines.
    """
    count = len(values)
    first = np.minimum(places.astype(np.int64), max(count - 2, 0))
    share = (places - first).reshape(-1, *[1] * (values.ndim - 1))
    second = np.minimum(first + 1, count - 1)
    if count < 4:
        return values[first] * (1.0 - share) + values[second] * share
    slopes = _slopes(values)
    rise = values[second] - values[first]
    start, end = slopes[first], slopes[second]
    curve = share * (1.0 - share) * ((1.0 - share) * (start - rise) - share * (end - rise))
    return values[first] + share * rise + curve


def _slopes(values: np.ndarray) -> np.ndarray:
    """The derivatives of the spline at its T values: a tridiagonal system, solved by elimination."""
    steps = np.diff(values, axis=0)
    right = np.empty_like(values)
    right[1:-1] = 3.0 * (steps[:-1] + steps[1:])
    right[0], right[-1] = (5.0 * steps[0] + steps[1]) / 2.0, (steps[-2] + 5.0 * steps[-1]) / 2.0
    below, diagonal, above = np.ones(len(values)), np.full(len(values), 4.0), np.ones(len(values))
    diagonal[[0, -1]], above[0], below[-1] = 1.0, 2.0, 2.0
    for row in range(1, len(values)):
        factor = below[row] / diagonal[row - 1]
        diagonal[row] -= factor * above[row - 1]
        right[row] -= factor * right[row - 1]
    right[-1] /= diagonal[-1]
    for row in range(len(values) - 2, -1, -1):
        right[row] = (right[row] - above[row] * right[row + 1]) / diagonal[row]
    return right


def peaks(values: np.ndarray, prominence: float, height: float = -np.inf, distance: int = 1) -> list[int]:
    """Frames of the local maxima of values (T,), ascending; of a flat one its middle.

    Args:
        prominence: how far one must descend, at least, on the way to anything higher or to the ends.
        height: the least value.
        distance: frames between two of them, at least; the lower one goes.
    """
    found = [place for place in _maxima(values) if values[place] >= height]
    kept: list[int] = []
    for place in sorted(found, key=lambda place: (values[place], place), reverse=True):
        if all(abs(place - other) >= distance for other in kept):
            kept.append(place)
    return sorted(place for place in kept if _prominence(values, place) >= prominence)


def _maxima(values: np.ndarray) -> list[int]:
    found, place = [], 1
    while place < len(values) - 1:
        end = place
        while end < len(values) - 1 and values[end + 1] == values[place]:
            end += 1
        if values[place - 1] < values[place] and end < len(values) - 1 and values[end + 1] < values[place]:
            found.append((place + end) // 2)
        place = end + 1
    return found


def _prominence(values: np.ndarray, place: int) -> float:
    higher = np.flatnonzero(values > values[place])
    left, right = higher[higher < place], higher[higher > place]
    before = values[left[-1] + 1 if len(left) else 0 : place + 1].min()
    after = values[place : right[0] if len(right) else len(values)].min()
    return float(values[place] - max(before, after))
