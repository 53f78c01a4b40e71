"""A capture as its file holds it: named nodes, how they hang together, and where they are in every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Capture:
    """A motion of T frames and N nodes (joints and End Sites, in the file's order).

    Attributes:
        names: N names; the End Site of joint ``Head`` is ``Head.end``.
        parents: N indices, -1 for a root; a parent stands before its children.
        positions: (T, N, 3) float64, positions in the file's own units and axes.
        rest: (N, 3) float64, the same where nothing is turned: every OFFSET added to that of the parent.
        frame_time: seconds between two frames as written; not checked to be positive.
        added: whether position channels of joints other than the root were added to their OFFSET, not put in its place.
        notes: what the reader mended or assumed, one phrase each.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    positions: np.ndarray
    rest: np.ndarray
    frame_time: float
    added: bool = False
    notes: tuple[str, ...] = ()
