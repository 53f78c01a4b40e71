"""The data set's labels: what each content is, whether a take shows it, and which body parts do it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2t_fast.preparation.bandai_namco.measures import (
    SIDES,
    Measures,
    bend_frames,
    kicking_side,
    measure,
    punches,
)
from m2t_fast.skeleton import PART_NAMES

KINDS: dict[str, str] = {
    **{"walk": "walk", "walk-back": "back", "walk-left": "aside", "walk-right": "aside", "run": "run", "dash": "run"},
    **{"walk-turn-left": "turn", "walk-turn-right": "turn"},
    **{f"raise-up-{hands}": "raise" for hands in ("both-hands", "left-hand", "right-hand")},
    **{f"wave-{hands}": "wave" for hands in ("both-hands", "left-hand", "right-hand")},
    **{"bye": "bye", "byebye": "bye", "bow": "bow", "guide": "guide", "respond": "respond", "call": "call"},
    **{"punch": "punch", "kick": "kick", "slash": "slash", "dance-short": "dance", "dance-long": "dance"},
}
"""Content label -> kind of action."""

LOCOMOTION = frozenset(("walk", "back", "aside", "run", "turn"))
RARE = frozenset(("kick", "respond", "dance", "call", "punch", "slash"))
"""Kinds that have only one or two takes."""

_GESTURES = ("raise", "wave", "bye", "guide", "respond")
_LEGS, _ARMS = ("left_leg", "right_leg"), ("left_arm", "right_arm")


@dataclass(frozen=True)
class Action:
    """One action of a clip.

    ``take``: the name of its file; ``content`` and ``style`` by its label; ``start`` and ``end`` in frames of
    the clip, end exclusive, and ``active`` likewise, the frames in which an arm is up or the trunk is bent (None where
    that is not measured); ``parts`` as ``skeleton.PART_NAMES``; ``measures`` of its frames; ``strokes``: the sides of
    its punches in their order, or the side that kicks.
    """

    take: str
    content: str
    style: str
    start: int
    end: int
    active: tuple[int, int] | None
    parts: tuple[str, ...]
    measures: Measures
    strokes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """A value of ``KINDS``."""
        return KINDS[self.content]

    @property
    def hands(self) -> tuple[str, ...]:
        """The sides of the arms that act."""
        return acting_hands(self.content, self.measures)


def action_of(take: str, content: str, style: str, joints: np.ndarray, start: int, end: int) -> Action:
    """The action that frames ``start`` to ``end`` of a clip (T, 22, 3) show."""
    shown = joints[start:end]
    measures, kind = measure(shown), KINDS[content]
    strokes: tuple[str, ...] = ()
    if kind == "punch":
        strokes = tuple(side for _, side in punches(shown))
    elif kind == "kick":
        strokes = (kicking_side(shown),)
    parts = parts_of(content, measures, strokes)
    active = None
    if kind in _GESTURES:
        ranges = [measures.arms[part.removesuffix("_arm")].active for part in parts if part.endswith("_arm")]
        active = start + min(first for first, _ in ranges), start + max(last for _, last in ranges)
    elif kind == "bow":
        first, last = bend_frames(shown)
        active = start + first, start + last
    return Action(take, content, style, start, end, active, parts, measures, strokes)


def acting_hands(content: str, measures: Measures) -> tuple[str, ...]:
    """The sides of the arms that act: those the label names, else those that are lifted."""
    named = [side for side in SIDES if side in content or "both" in content]
    if named:
        return tuple(named)
    tops = {side: arm.top for side, arm in measures.arms.items()}
    highest = max(SIDES, key=lambda side: (tops[side], side))
    lifted = [side for side in SIDES if tops[side] > -0.27]
    one_is_higher = len(lifted) == 2 and abs(tops["left"] - tops["right"]) > 0.15
    if content == "bye" or (content == "guide" and one_is_higher):  # "byebye" waves both
        return (highest,)
    return tuple(lifted) or ("right",)


def parts_of(content: str, measures: Measures, strokes: tuple[str, ...]) -> tuple[str, ...]:
    """The body parts that do an action, in the order of ``PART_NAMES``."""
    kind = KINDS[content]
    hands = {f"{side}_arm" for side in acting_hands(content, measures)}
    tops = {side: arm.top for side, arm in measures.arms.items()}
    parts: set[str] = {
        **dict.fromkeys(LOCOMOTION, {"root", *_LEGS}),
        **dict.fromkeys(("raise", "wave", "bye"), hands),
        "bow": {"root", "torso"} if measures.trunk > 60 else {"torso"},
        "guide": hands | ({"torso"} if measures.spin > 25 or measures.trunk > 25 else set()),
        "respond": {"left_arm" if tops["left"] > tops["right"] else "right_arm"},
        "call": {"torso", *_ARMS},
        "punch": {"torso", *(f"{side}_arm" for side in strokes)},
        "kick": {"root", "torso", *(f"{side}_leg" for side in strokes)},
        "slash": {"torso", *_ARMS, *_LEGS},
        "dance": set(PART_NAMES),
    }[kind]
    return tuple(part for part in PART_NAMES if part in parts)


def is_consistent(content: str, joints: np.ndarray) -> bool:
    """Whether a motion (T, 22, 3) shows what its label says: a few takes are mislabelled, some pieces lack it."""
    measures, kind = measure(joints), KINDS[content]
    to_left = content.endswith("left")
    if kind == "turn":
        return abs(measures.turn - (90 if to_left else -90)) < 35
    if kind in ("raise", "wave"):
        hands = acting_hands(content, measures)
        return all((arm.top > -0.20) if side in hands else (arm.top < -0.24) for side, arm in measures.arms.items())
    if kind in ("walk", "run"):
        return measures.forward > 0.25 and abs(measures.turn) < 45
    if kind == "back":
        return measures.forward < -0.25
    if kind == "aside":
        return measures.leftward * (1 if to_left else -1) > 0.1
    return kind != "bow" or measures.trunk > 18
