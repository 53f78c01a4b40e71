"""One synthetic motion: its actions laid out in time and animated, its ground truth, its joints and captions."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2t_fast.data.raw import RawMotion, Segment
from m2t_fast.data.synthetic.actions import ACTIONS, plan
from m2t_fast.data.synthetic.body import CHANNEL, CHANNELS, Rig, animate, leg_length, subject_offsets
from m2t_fast.data.synthetic.captions import captions_of, naming_words
from m2t_fast.data.synthetic.track import Step, Track

MIN_SECONDS, MAX_SECONDS = 2.05, 9.85
"""Shortest and longest motion: 41-197 frames at 20 fps, inside the 40 to 200 that HumanML3D's filter keeps."""

_PAUSE = (0.1, 0.35)  # seconds of standing before, between and after the actions
_LIMB_SPREAD, _LIMB_LIMIT = 0.03, 0.07  # standard deviation and largest deviation of the scales of trunk, arms, legs
_HEIGHT_SPREAD, _HEIGHT_LIMIT = 0.04, 0.1  # the same, of the scale of the whole body
_POSTURE_SPREAD = 0.04  # radians
_SWAY_SPREAD = 0.012  # radians, of each of the waves that make up the sway of a channel
_SWAY_WAVES = 3
_SWAY_HERTZ = (0.1, 0.7)
_STANCE: dict[str, float] = {
    **{"planted": 1.0, "pelvis_pitch": 0.03, "spine_pitch": 0.04, "head_pitch": 0.05},
    **{f"{side}_arm_abduct": 0.14 for side in ("left", "right")},
    **{f"{side}_arm_elbow": 0.25 for side in ("left", "right")},
    **{f"{side}_arm_twist": -0.1 for side in ("left", "right")},
    **{f"{side}_leg_abduct": 0.05 for side in ("left", "right")},
    **{f"{side}_leg_flex": 0.06 for side in ("left", "right")},
    **{f"{side}_leg_knee": 0.12 for side in ("left", "right")},
}
STANDING: np.ndarray = np.array([_STANCE.get(name, 0.0) for name in CHANNELS])[:, None]
"""(len(CHANNELS), 1) pose that every action is added to."""

_STYLED = np.ones((len(CHANNELS), 1))
_STYLED[[CHANNEL[name] for name in ("forward", "left", "turn", "air", "planted")]] = 0.0


@dataclass(frozen=True)
class Draft:
    """A motion before kinematics and captions.

    ``channels`` (len(CHANNELS), frames) is its pose track, ``bones`` (J, 3) metres its subject; ``dice`` then
    draws the captions of ``steps``.
    """

    id: str
    channels: np.ndarray
    bones: np.ndarray
    steps: list[Step]
    segments: list[Segment]
    dice: random.Random


def draft(name: str, seed: int, place: tuple[int, ...], rig: Rig, fps: float) -> Draft:
    """Plan and animate the motion that a seed has at a place (split, number); no other motion influences it."""
    stream = np.random.SeedSequence(seed, spawn_key=place)
    dice = random.Random(int.from_bytes(stream.generate_state(4).astype("<u4").tobytes(), "little"))
    rng = np.random.default_rng(stream)
    steps = plan(dice)
    begins, ends, frames = _layout(steps, dice, fps)
    bones = _subject(rig, rng)
    channels = STANDING + _style(rng, frames, fps)
    for step, begin, end in zip(steps, begins, ends, strict=True):
        ACTIONS[step.action].animate(Track(channels[:, begin:end], step, fps, leg_length(rig, bones)))
    # An action's segment reaches to the middle of the pauses around it.
    cuts = [0, *((end + begin) // 2 for end, begin in zip(ends[:-1], begins[1:], strict=True)), frames]
    segments = [
        Segment(step.action, start, stop, ACTIONS[step.action].parts(step.variant), active=(begin, end))
        for step, start, stop, begin, end in zip(steps, cuts[:-1], cuts[1:], begins, ends, strict=True)
    ]
    return Draft(name, channels, bones, steps, segments, dice)


def _layout(steps: Sequence[Step], dice: random.Random, fps: float) -> tuple[list[int], list[int], int]:
    """First frame of every action, the frame after its last, and the motion's frames."""
    pauses = [dice.uniform(*_PAUSE) for _ in range(len(steps) + 1)]
    acting = sum(step.duration for step in steps)
    spare = MIN_SECONDS - acting - sum(pauses)
    if spare > 0:
        pauses[0] += 0.4 * spare
        pauses[-1] += 0.6 * spare
    shorten = min(1.0, (MAX_SECONDS - acting) / sum(pauses))
    begins, ends, clock = [], [], 0.0
    for pause, step in zip(pauses[:-1], steps, strict=True):
        begins.append(round((clock + pause * shorten) * fps))
        clock += pause * shorten + step.duration
        ends.append(round(clock * fps))
    return begins, ends, round((clock + pauses[-1] * shorten) * fps)


def _subject(rig: Rig, rng: np.random.Generator) -> np.ndarray:
    """Bones (J, 3) of a person with individual height and proportions."""
    height = np.clip(rng.normal(0.0, _HEIGHT_SPREAD), -_HEIGHT_LIMIT, _HEIGHT_LIMIT)
    limbs = np.clip(rng.normal(0.0, _LIMB_SPREAD, 3), -_LIMB_LIMIT, _LIMB_LIMIT)
    return subject_offsets(rig, (1.0 + height) * (1.0 + limbs))


def _style(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:
    """What the person adds to every pose: a posture of their own and slow sway. (len(CHANNELS), frames) radians."""
    posture = rng.normal(0.0, _POSTURE_SPREAD, (len(CHANNELS), 1))
    hertz, phase = rng.uniform(*_SWAY_HERTZ, (_SWAY_WAVES, 1)), rng.uniform(0.0, 2 * math.pi, (_SWAY_WAVES, 1))
    waves = np.sin(2 * math.pi * hertz * (np.arange(frames) / fps) + phase)
    sizes = rng.normal(0.0, _SWAY_SPREAD, (len(CHANNELS), _SWAY_WAVES, 1))
    return _STYLED * (posture + (sizes * waves).sum(axis=1))


def finish(drafts: Sequence[Draft], rig: Rig, fps: float) -> list[RawMotion]:
    """The drafts with joint positions, computed for all of them at once, and captions."""
    starts = np.cumsum([0, *(item.channels.shape[1] for item in drafts)])
    tracks = np.concatenate([item.channels for item in drafts], axis=1)
    joints = animate(rig, np.stack([item.bones for item in drafts]), tracks, starts, fps)
    motions = []
    for item, begin, end in zip(drafts, starts[:-1], starts[1:], strict=True):
        captions = captions_of(item.steps, item.dice)
        words = zip(*(naming_words(caption, item.steps) for caption in captions), strict=True)
        segments = [dataclasses.replace(s, words=named) for s, named in zip(item.segments, words, strict=True)]
        motions.append(RawMotion(item.id, joints[begin:end].copy(), captions, segments))
    return motions
