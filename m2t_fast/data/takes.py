"""Takes: clips of a data set joined to long motions whose segments are known, for measuring segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2t_fast.data.folder import read_folder
from m2t_fast.data.raw import RawMotion, Segment
from m2t_fast.errors import UserError
from m2t_fast.motion.placement import facing, turned
from m2t_fast.skeleton import Skeleton

FEWEST, MOST = 3, 6
"""Clips in a take of :func:`make_takes`, both inclusive."""
BLEND = 0.5
"""Seconds on each side of a join over which one pose runs into the next."""


@dataclass(frozen=True)
class TakeSegment:
    """One clip inside a take: ``start`` and ``end`` are frames, end exclusive; ``captions`` are the clip's own, and
    ``actions`` what happens in it, () where that is not known; ``parts`` are the clip's own segments, in its frames."""

    id: str
    start: int
    end: int
    captions: tuple[str, ...]
    actions: tuple[str, ...]
    parts: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class Take:
    """A long motion: ``joints`` (T, J, 3) float32 in the unit of its clips, Y up; ``segments`` tile it in order, but
    for the pauses between them."""

    joints: np.ndarray
    segments: tuple[TakeSegment, ...]


def load_clips(source: str, split: str, skeleton: Skeleton) -> list[RawMotion]:
    """The motions of a split of a data folder or of "synthetic", unfiltered, at their own frame rate.

    Raises:
        UserError: a mistake in the folder, or its motions do not have the joints of ``skeleton``.
    """
    if source == "synthetic":
        from m2t_fast.data import synthetic  # only this source needs the generator

        return synthetic.generate(joints=skeleton.joints).splits[split]
    data = read_folder(source, (split,), strict=False)
    if data.skeleton != skeleton:
        raise UserError(
            f"{source}: motions have {data.skeleton.joints} joints, but the run reads {skeleton.joints} "
            f"({skeleton.name})"
        )
    return data.splits[split]


def join_clips(clips: Sequence[RawMotion], skeleton: Skeleton, blend: float = BLEND, pause: float = 0.0) -> Take:
    """Clips one after the other: each starts where the one before ends, faces where it faces, and runs into it.

    Args:
        clips: at least one; joints (frames, J, 3) of ``skeleton`` at its frame rate.
        skeleton: tells which way a body faces.
        blend: seconds on each side of a join in which half the difference of the two poses fades in and out, by a
            cosine; 0 leaves a jump.
        pause: seconds that the last pose of a clip is held before the next begins; they belong to no segment.

    Raises:
        ValueError: no clips, or ``blend`` or ``pause`` is negative or not finite.
    """
    if not clips:
        raise ValueError("clips: got none, expected at least one")
    for name, seconds in (("blend", blend), ("pause", pause)):
        if not 0.0 <= seconds < np.inf:
            raise ValueError(f"{name}: got {seconds!r}, expected at least 0 seconds")
    reach, held = round(blend * skeleton.fps), round(pause * skeleton.fps)
    pieces: list[np.ndarray] = []
    segments: list[TakeSegment] = []
    frames = 0
    for clip in clips:
        joints = clip.joints.astype(np.float64)
        if pieces:
            last = pieces[-1]
            joints = _continued(joints, last[-1], skeleton)
            if held:
                pieces.append(np.repeat(last[-1:], held, axis=0))
                frames += held
            _fade(pieces[-1], joints, reach)
        actions = tuple(segment.action for segment in clip.segments or ())
        texts = tuple(caption.text for caption in clip.captions)
        parts = tuple(clip.segments or ())
        segments.append(TakeSegment(clip.id, frames, frames + len(joints), texts, actions, parts))
        pieces.append(joints)
        frames += len(joints)
    return Take(np.concatenate(pieces).astype(np.float32), tuple(segments))


def make_takes(
    clips: Sequence[RawMotion],
    skeleton: Skeleton,
    count: int,
    seed: int,
    fewest: int = FEWEST,
    most: int = MOST,
    blend: float = BLEND,
    pause: float = 0.0,
) -> list[Take]:
    """``count`` takes of ``fewest`` to ``most`` clips each, drawn without repetition in a take; the same seed gives the
    same takes. Clips known to hold more than one action are left out: their segments would be ambiguous.

    Raises:
        ValueError: too few clips of one action, or a number out of range.
    """
    single = [clip for clip in clips if clip.segments is None or len(clip.segments) == 1]
    if not 1 <= fewest <= most <= len(single):
        raise ValueError(f"fewest, most: got {fewest} and {most}, expected 1 <= fewest <= most <= {len(single)} clips")
    generator = np.random.default_rng(seed)
    takes = []
    for _ in range(count):
        chosen = generator.choice(len(single), size=generator.integers(fewest, most + 1), replace=False)
        takes.append(join_clips([single[number] for number in chosen], skeleton, blend, pause))
    return takes


def _continued(joints: np.ndarray, pose: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """A clip turned and moved along the floor so that its first frame stands and faces as ``pose`` (J, 3) does."""
    own, wanted = facing(joints[:1], skeleton), facing(pose[None], skeleton)
    level = np.array([1.0, 0.0, 1.0])
    joints = joints - joints[0, 0] * level
    if own is not None and wanted is not None:
        joints = turned(joints, own - wanted)
    return joints + pose[0] * level


def _fade(before: np.ndarray, after: np.ndarray, reach: int) -> None:
    """Moves the end of ``before`` and the start of ``after``, in place, halfway towards each other's pose."""
    difference = after[0] - before[-1]
    for frames, sign in ((before[::-1], 0.5), (after, -0.5)):
        near = min(reach, len(frames))
        weight = 0.5 + 0.5 * np.cos(np.pi * np.arange(near) / max(near, 1))
        frames[:near] += sign * weight[:, None, None] * difference
