"""The actions: how each is animated, which body parts perform it, how long it takes, and the plan of a motion."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from m2t_fast.data.synthetic import gestures, locomotion
from m2t_fast.data.synthetic.track import Step, Track

SPEEDS: dict[str, float] = {"slow": 0.6, "": 1.0, "fast": 1.6}
"""Tempo of each pace; a step's own tempo lies within ``TEMPO_SPREAD`` of it, so that paces never overlap."""

TEMPO_SPREAD = 0.07
MAX_SECONDS = 9.8
"""Longest sum of actions in one motion."""

_SIDES = ("left", "right")
_PACE_CHANCES = (("slow", 0.25), ("fast", 0.5))  # cumulative; the rest is normal
_TWICE_CHANCE = 0.2
_LENGTH_WEIGHTS = (0.45, 0.35, 0.2)  # one, two and three actions


@dataclass(frozen=True)
class Action:
    """One kind of action.

    ``limbs`` are part names, or "arm"/"leg" for the limb of the variant's side; ``seconds`` is the range of durations
    at normal tempo. Where ``cyclic``, the tempo changes the rhythm and not the duration. ``paced`` actions come slow
    and fast as well; ``countable`` ones are sometimes done twice.
    """

    animate: Callable[[Track], None]
    limbs: tuple[str, ...]
    seconds: tuple[float, float]
    variants: tuple[str, ...] = ("",)
    cyclic: bool = False
    paced: bool = True
    countable: bool = False
    weight: float = 1.0

    def parts(self, variant: str) -> tuple[str, ...]:
        """Names of ``skeleton.PART_NAMES`` that perform the action in this variant."""
        names: list[str] = []
        for limb in self.limbs:
            if limb in ("arm", "leg"):
                names += [f"{side}_{limb}" for side in _SIDES if variant not in _SIDES or variant == side]
            else:
                names.append(limb)
        return tuple(names)


_LEGS = ("root", "left_leg", "right_leg")

ACTIONS: dict[str, Action] = {
    "walk": Action(locomotion.walk, _LEGS, (2.4, 4.5), ("forward", "backward"), cyclic=True, weight=2.0),
    "run": Action(locomotion.run, _LEGS, (2.0, 3.2), ("forward",), cyclic=True, weight=1.5),
    "circle": Action(
        locomotion.circle, _LEGS, (4.2, 5.8), ("clockwise", "counterclockwise"), cyclic=True, paced=False, weight=1.5
    ),
    "turn": Action(locomotion.turn, _LEGS, (1.4, 1.6), ("left", "right", "around"), weight=1.5),
    "sidestep": Action(locomotion.sidestep, _LEGS, (2.2, 3.4), _SIDES, cyclic=True),
    "stumble": Action(locomotion.stumble, _LEGS, (1.6, 2.2), ("forward", "backward"), cyclic=True, paced=False),
    "jump": Action(
        locomotion.jump, _LEGS, (1.25, 1.4), ("up", "forward", "repeated"), paced=False, countable=True, weight=1.5
    ),
    "hop": Action(locomotion.hop, _LEGS, (1.9, 2.8), _SIDES, cyclic=True, paced=False),
    "march": Action(locomotion.march, ("left_leg", "right_leg"), (2.4, 3.6), cyclic=True),
    "stand": Action(locomotion.stand, ("left_leg", "right_leg"), (1.8, 2.8), cyclic=True, paced=False, weight=0.6),
    "wave": Action(gestures.wave, ("arm",), (2.0, 3.2), (*_SIDES, "both"), cyclic=True, weight=1.5),
    "punch": Action(gestures.punch, ("arm",), (1.1, 1.3), _SIDES, countable=True),
    "box": Action(gestures.box, ("left_arm", "right_arm"), (2.2, 3.4), cyclic=True),
    "throw": Action(gestures.throw, ("arm",), (1.5, 1.8), _SIDES),
    "raise": Action(gestures.lift_arm, ("arm",), (2.2, 2.6), (*_SIDES, "both")),
    "clap": Action(gestures.clap, ("left_arm", "right_arm"), (2.0, 3.0), cyclic=True),
    "wipe": Action(gestures.wipe, ("arm",), (2.2, 3.4), _SIDES, cyclic=True),
    "pick": Action(gestures.pick, ("torso", "arm", "left_leg", "right_leg"), (2.5, 2.9), _SIDES),
    "kick": Action(gestures.kick, ("leg",), (1.3, 1.5), _SIDES, countable=True),
    "stomp": Action(gestures.stomp, ("leg",), (1.1, 1.3), _SIDES, paced=False, countable=True),
    "squat": Action(gestures.squat, ("left_leg", "right_leg"), (1.9, 2.2), countable=True),
    "kneel": Action(gestures.kneel, ("left_leg", "right_leg"), (2.6, 3.0), _SIDES, paced=False),
    "lift": Action(gestures.lift_leg, ("leg",), (1.8, 2.2), _SIDES),
    "bow": Action(gestures.bow, ("torso",), (1.9, 2.3), countable=True),
    "bend": Action(gestures.bend, ("torso",), (1.8, 2.2), _SIDES),
    "open": Action(gestures.spread, ("left_arm", "right_arm"), (1.9, 2.3)),
    "drink": Action(gestures.drink, ("arm",), (2.3, 2.8), _SIDES, paced=False),
    "catch": Action(gestures.catch, ("left_arm", "right_arm"), (1.7, 2.1), paced=False),
}
"""Every action by the name that ``Segment.action`` carries."""

_NAMES = tuple(ACTIONS)
_WEIGHTS = tuple(action.weight for action in ACTIONS.values())


def _plan_step(name: str, dice: random.Random) -> Step:
    action = ACTIONS[name]
    draw = dice.random()
    speed = next((pace for pace, chance in _PACE_CHANCES if draw < chance), "") if action.paced else ""
    variant = dice.choice(action.variants)
    times = 2 if action.countable and variant != "repeated" and dice.random() < _TWICE_CHANCE else 1
    tempo = SPEEDS[speed] * dice.uniform(1 - TEMPO_SPREAD, 1 + TEMPO_SPREAD)
    duration = dice.uniform(*action.seconds)
    if variant in ("around", "repeated"):
        duration *= 1.5 if variant == "around" else 2.2
    if not action.cyclic:
        duration *= times / tempo
    return Step(
        action=name,
        variant=variant,
        speed=speed,
        times=times,
        duration=duration,
        tempo=tempo,
        amplitude=dice.uniform(0.9, 1.1),
        phase=dice.uniform(0, 2 * math.pi),
    )


def plan(dice: random.Random, seconds: float = MAX_SECONDS) -> list[Step]:
    """Draw one to three different actions that together take at most ``seconds``, neighbours never the same."""
    count = dice.choices((1, 2, 3), _LENGTH_WEIGHTS)[0]
    while True:
        names = dice.choices(_NAMES, _WEIGHTS, k=count)
        if len(set(names)) < count:
            continue
        steps = [_plan_step(name, dice) for name in names]
        if sum(step.duration for step in steps) <= seconds:
            return steps
