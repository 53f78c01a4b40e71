"""A capture as its file holds it: named nodes, how they hang together, and where they are in every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError

_ALWAYS = 1 << 23
"""Nodes in frames, of 100 to 200 bytes each while they are computed, that a file of any size may have."""


def check_size(path: str | Path, frames: int, nodes: int, size: int) -> None:
    """Refuses motions with far more positions than their files have bytes, for example of nodes without channels.

    Raises:
        UserError: it is one.
    """
    if frames * nodes > max(_ALWAYS, size):
        raise UserError(f"{path}: {frames:,} frames of {nodes:,} nodes are too many for a file of {size:,} bytes")


@dataclass(frozen=True)
class Capture:
    """A motion of T frames and N nodes (joints and End Sites, in the file's order).

    Attributes:
        names: N names; the End Site of joint ``Head`` is ``Head.end``.
        parents: N indices, -1 for a root; a parent stands before its children.
        positions: (T, N, 3) float64, positions in the file's own units and axes.
        rest: (N, 3) float64, the same without any rotation: every OFFSET added to that of the parent.
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
