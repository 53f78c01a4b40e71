"""The results of an implementation, and whether they are right: a wrong result gets no time."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

TOLERANCE = 1e-3
"""Largest error as a share of a tensor's largest value. It tells right from wrong; ``m2t-fast validate`` judges
precision by the numerics policy."""
_GRADIENT_FLOOR = 1e-3
"""A gradient's scale is at least this share of the largest one: some are 0 by cancellation."""


class Results(NamedTuple):
    """By name, detached: outputs (float within TOLERANCE, integer exact) and gradients."""

    outputs: dict[str, Tensor]
    gradients: dict[str, Tensor]


def why_wrong(found: Results, truth: Results) -> str | None:
    """None where ``found`` is ``truth`` within tolerance, else one line: what differs, and by how much."""
    largest = max((_size(x) for x in truth.gradients.values()), default=0.0)
    shares: dict[str, float] = {}
    for mine, right, floor in (
        (found.outputs, truth.outputs, 0.0),
        (found.gradients, truth.gradients, _GRADIENT_FLOOR * largest),
    ):
        if mine.keys() != right.keys():
            return f"it gives {', '.join(mine)}, expected {', '.join(right)}"
        for name, expected in right.items():
            if mine[name].shape != expected.shape:
                return f"{name} has shape {tuple(mine[name].shape)}, expected {tuple(expected.shape)}"
            scale = max(_size(expected), floor) if expected.is_floating_point() else 0.0
            shares[name] = _share(_size(mine[name].double() - expected.double()), scale)
    worst = max(shares, key=lambda name: shares[name])
    if shares[worst] <= TOLERANCE:
        return None
    return f"{worst} differs by {shares[worst]:.1e} of its largest value, allowed {TOLERANCE:.0e}"


def _share(difference: float, scale: float) -> float:
    """``difference`` / ``scale``, 0 of 0 is nothing; NaN is the largest there is."""
    if difference == 0.0:
        return 0.0
    share = difference / scale if scale else math.inf
    return math.inf if math.isnan(share) else share


def _size(x: Tensor) -> float:
    """The largest magnitude; NaN if there is one, 0 of nothing."""
    return float(x.abs().max()) if x.numel() else 0.0
