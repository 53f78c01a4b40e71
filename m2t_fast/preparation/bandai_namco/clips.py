"""From takes to clips of two to ten seconds: pieces of one take, and two takes joined end to end."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

import numpy as np

from m2t_fast.motion.placement import place
from m2t_fast.preparation.bandai_namco.contents import KINDS, LOCOMOTION, Action, action_of, is_consistent
from m2t_fast.preparation.bandai_namco.measures import heading, measure, turn_frames
from m2t_fast.preparation.bandai_namco.takes import FPS, Take, bone_lengths, with_bones
from m2t_fast.skeleton import HUMANML3D

SHORTEST, LONGEST = 40, 198
"""Frames of a clip: HumanML3D's shortest and, in effect, longest."""

Window = tuple[int, int]
"""Frames of a take: the first and the one after the last."""

# Takes that hold several actions: windows in seconds, one burst of the action each.
_BY_HAND: dict[str, list[tuple[float, float]]] = {
    "dataset-1_kick_normal_001": [(0, 4.3), (4.3, 8.8), (8.8, 11.93)],
    "dataset-1_punch_normal_001": [(0, 3.05), (3.05, 7.45)],
    "dataset-1_punch_normal_002": [(0, 4.35), (4.35, 9.45)],
    "dataset-1_slash_normal_001": [(0, 4.5), (4.5, 9.15), (9.15, 13.35)],
    "dataset-1_slash_normal_002": [(0, 4.5), (4.5, 10.0), (10.0, 15.9)],
    "dataset-1_dance-short_normal_001": [(9.7 + 6.45 * part, 9.7 + 6.45 * (part + 1)) for part in range(8)],
}
_LONG_WAVE, _WALK = 90, 150  # frames: longer waves are cut to the rise or the fall, walks of data set 2 to this
_BLEND = 6  # frames in which one take becomes the next
_BEFORE, _AFTER = 10, 12  # frames that must be left of a walk before and after a turn to be actions of their own


@dataclass(frozen=True)
class Clip:
    """A motion (T, 22, 3) float64, metres, Y up, anywhere; the takes and their windows that it is made of; its actions
    in their order, which tile it. ``kind``: "single", "turn" (walk, turn, walk of one take) or "multi" (two takes)."""

    joints: np.ndarray
    takes: tuple[str, ...]
    windows: tuple[Window, ...]
    actions: tuple[Action, ...]
    kind: str

    def placed(self) -> np.ndarray:
        """The joints as HumanML3D places its ``new_joints``, float32."""
        return place(self.joints, HUMANML3D).astype(np.float32)


def is_usable(take: Take) -> bool:
    """Whether a take is long enough and shows what its label says."""
    return len(take.joints) >= 24 and (take.name in _BY_HAND or is_consistent(take.content, take.joints))


def windows_of(take: Take) -> list[Window]:
    """The pieces of a take that become clips: windows of 40 to 198 frames; none of a take that is too short."""
    count, kind, name = len(take.joints), KINDS[take.content], take.name
    if name in _BY_HAND:
        return [(round(start * FPS), min(round(end * FPS), count)) for start, end in _BY_HAND[name]]
    if count < SHORTEST:
        return []
    # A number of the name, so that a take gives the same piece whatever else is there.
    number = zlib.crc32(name.encode())
    if kind == "wave" and count > _LONG_WAVE:
        start, end = _whole(take).active or (0, count)
        size = min(count, 70 + number % 36)
        rises = (number >> 8) % 3 > 0
        first = max(0, start - 4 - number % 7) if rises else min(count, end + 4 + number % 9) - size
        first = min(max(first, 0), count - size)
        return [(first, first + size)]
    if take.content == "walk" and take.group == "2" and _WALK < count <= LONGEST:
        first = number % (count - _WALK + 1)
        return [(first, first + _WALK)]
    if count <= LONGEST:
        return [(0, count)]
    if kind == "turn":
        return [_around(sum(turn_frames(take.joints)) // 2, count)]
    if kind in LOCOMOTION:
        cuts = np.linspace(0, count, -(-count // LONGEST) + 1).astype(int).tolist()
        return list(zip(cuts[:-1], cuts[1:], strict=True))
    start, end = _whole(take).active or (0, count)
    return [_around((start + min(end, start + LONGEST)) // 2, count)]


def _around(middle: int, count: int) -> Window:
    first = min(max(middle - LONGEST // 2, 0), count - LONGEST)
    return first, first + LONGEST


def _whole(take: Take) -> Action:
    return action_of(take.name, take.content, take.style, take.joints, 0, len(take.joints))


def clip_of(take: Take, window: Window) -> Clip | None:
    """One piece of a take with its actions; None if it is too short or too long, or does not show its label."""
    joints = take.joints[slice(*window)]
    if not SHORTEST <= len(joints) <= LONGEST or not (take.name in _BY_HAND or is_consistent(take.content, joints)):
        return None
    actions, kind = _actions(take, joints)
    return Clip(joints, (take.name,), (window,), actions, kind)


def _actions(take: Take, joints: np.ndarray) -> tuple[tuple[Action, ...], str]:
    """A walk with a turn is walk, turn and walk, if there are enough frames of each; anything else is one action."""
    count = len(joints)
    if KINDS[take.content] != "turn":
        return (action_of(take.name, take.content, take.style, joints, 0, count),), "single"
    first, end = turn_frames(joints)
    first, end = first if first >= _BEFORE else 0, end if count - end >= _AFTER else count
    turn = action_of(take.name, take.content, take.style, joints, 0, count)  # words are about the whole turn
    actions = [Action(turn.take, turn.content, turn.style, first, end, None, turn.parts, turn.measures)]
    if first:
        actions.insert(0, action_of(take.name, "walk", take.style, joints, 0, first))
    if end < count:
        actions.append(action_of(take.name, "walk", take.style, joints, end, count))
    return tuple(actions), "turn" if first else "single"


def window_to_join(take: Take, dice: random.Random) -> Window:
    """A shorter window that holds the action of a take, for one half of a joined clip."""
    count, kind = len(take.joints), KINDS[take.content]
    if take.name in _BY_HAND:
        start, end = dice.choice(windows_of(take))
        return start, min(end, start + 96) if kind in ("dance", "punch") else end
    if kind == "turn":
        first, end = turn_frames(take.joints)
        return max(0, first - dice.randrange(4, 12)), min(count, end + dice.randrange(6, 16))
    if kind in LOCOMOTION:
        size = min(count, dice.randrange(36, 86))
        first = dice.randrange(count - size + 1)
        return first, first + size
    start, end = _whole(take).active or (0, count)
    first, end = max(0, start - dice.randrange(4, 10)), min(count, end + dice.randrange(5, 11))
    most = dice.randrange(72, 100) if kind in ("wave", "bye") else 118
    return first, min(end, first + most)


def can_follow(first: Take, second: Take, windows: tuple[Window, Window]) -> bool:
    """Whether two windows make a clip of a good length, both halves showing what their labels say."""
    sizes = [end - start for start, end in windows]
    if min(sizes) < 24 or not 50 <= sum(sizes) - _BLEND <= LONGEST:
        return False
    for take, window in zip((first, second), windows, strict=True):
        joints = take.joints[slice(*window)]
        if KINDS[take.content] == "turn":
            if not 60 < abs(measure(joints).turn) < 125:
                return False
        elif not is_consistent(take.content, joints):
            return False
    return True


def are_different(first: str, second: str) -> bool:
    """Whether two contents differ enough to be told one after the other."""
    kinds = {KINDS[first], KINDS[second]}
    if len(kinds) == 1:
        return kinds <= {"raise", "wave", "turn", "aside"} and first != second
    return kinds not in ({"wave", "bye"}, {"raise", "respond"})


def misfit(first: np.ndarray, second: np.ndarray) -> float:
    """Metres between the pose that a motion (T, 22, 3) ends in and the one that another begins with."""
    poses = []
    for joints in (first[-4:], second[:4]):
        turned = turn_by(joints, -heading(joints).mean())
        turned[..., [0, 2]] -= turned[:, :1][..., [0, 2]]
        poses.append(turned.mean(axis=0))
    return float(np.linalg.norm(poses[0] - poses[1], axis=1).mean())


def join(first: Take, second: Take, windows: tuple[Window, Window]) -> Clip:
    """Two takes one after the other: the second is turned and moved to where the first ends, and within a few frames
    one blends into the other; bones keep their lengths."""
    before, after = (take.joints[slice(*window)] for take, window in zip((first, second), windows, strict=True))
    after = turn_by(after, heading(before[-_BLEND:]).mean() - heading(after[:_BLEND]).mean())
    half = _BLEND // 2
    after[..., [0, 2]] += (before[len(before) - _BLEND + half, 0] - after[half, 0])[[0, 2]]
    share = np.linspace(0.0, 1.0, _BLEND + 2)[1:-1]
    share = (share * share * (3.0 - 2.0 * share))[:, None, None]
    between = with_bones((1.0 - share) * before[-_BLEND:] + share * after[:_BLEND], bone_lengths(before))
    joints = np.concatenate([before[:-_BLEND], between, after[_BLEND:]])
    cut = len(before) - _BLEND + half
    actions = (
        action_of(first.name, first.content, first.style, joints, 0, cut),
        action_of(second.name, second.content, second.style, joints, cut, len(joints)),
    )
    return Clip(joints, (first.name, second.name), windows, actions, "multi")


def turn_by(joints: np.ndarray, angle: float) -> np.ndarray:
    """Joints (T, J, 3) turned to the left by ``angle`` radians about Y; a copy."""
    sine, cosine = np.sin(angle), np.cos(angle)
    x, z = joints[..., 0], joints[..., 2]
    return np.stack([cosine * x + sine * z, joints[..., 1], cosine * z - sine * x], axis=-1)
