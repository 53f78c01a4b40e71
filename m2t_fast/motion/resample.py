"""Another frame rate for a motion."""

from __future__ import annotations

import math

import numpy as np

from m2t_fast.wording import counted

MOST_FRAMES = 1_000_000
_MOST_FOR_EACH = 1000  # frames: files with less than one in 50 s are mistaken, or want memory without having bytes
_SAME = 1e-3  # shares of a rate, or of a frame, that do not count: .bvh files write 1/30 s as 0.0333333


def resample(joints: np.ndarray, fps: float, target: float) -> np.ndarray:
    """Positions (T, ...) at ``fps`` frames per second as positions at ``target``, linear between frames.

    Frame k of the result is the motion ``k / target`` seconds after its first frame; the result ends where the motion
    does, at its last frame or less than one new frame before it. Equal rates give the motion itself.

    Raises:
        ValueError: a rate that is not positive, no frames, or a result of more than :data:`MOST_FRAMES` frames.
    """
    for name, rate in (("fps", fps), ("target", target)):
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"{name}: got {rate}, expected frames per second above 0")
    if len(joints) == 0:
        raise ValueError("joints: got no frames, expected at least one")
    if abs(fps / target - 1.0) < _SAME:
        return joints
    exact = (len(joints) - 1) * target / fps + _SAME  # infinite where a rate is next to nothing
    frames = math.floor(min(exact, 2.0 * MOST_FRAMES)) + 1
    if frames > min(MOST_FRAMES, _MOST_FOR_EACH * len(joints)):
        raise ValueError(
            f"fps: {counted(len(joints), 'frame')} at {fps:g} per second last {len(joints) / fps:.3g} s, too long"
        )
    place = np.minimum(np.arange(frames) * (fps / target), len(joints) - 1)
    first = np.minimum(place.astype(np.int64), max(len(joints) - 2, 0))
    share = (place - first).reshape(-1, *[1] * (joints.ndim - 1))
    second = np.minimum(first + 1, len(joints) - 1)
    return (joints[first] * (1.0 - share) + joints[second] * share).astype(joints.dtype, copy=False)
