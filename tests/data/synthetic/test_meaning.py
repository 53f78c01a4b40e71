"""The motions do what their captions say: every statement of a caption is measured on the joints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from m2t_fast.data.raw import RawMotion
from m2t_fast.data.synthetic import generate
from m2t_fast.data.synthetic.actions import ACTIONS
from m2t_fast.skeleton import skeleton_of

JOINTS = {
    22: dict(head=15, hips=(1, 2), shoulder=(16, 17), wrist=(20, 21), knee=(4, 5), ankle=(7, 8), toe=(10, 11)),
    21: dict(head=4, hips=(11, 16), shoulder=(5, 8), wrist=(7, 10), knee=(12, 17), ankle=(13, 18), toe=(15, 20)),
}


class Measured:
    """A motion of one action, with its joints by name; pairs are (left, right)."""

    def __init__(self, motion: RawMotion) -> None:
        self.joints = motion.joints.astype(np.float64)
        names = JOINTS[self.joints.shape[1]]
        self.fps = skeleton_of(self.joints.shape[1]).fps
        self.root = self.joints[:, 0]
        self.head = self.joints[:, names["head"]]
        self.wrist, self.shoulder, self.knee, self.ankle, self.toe = (
            [self.joints[:, index] for index in names[name]] for name in ("wrist", "shoulder", "knee", "ankle", "toe")
        )
        across = self.joints[:, names["hips"][0]] - self.joints[:, names["hips"][1]]
        self.heading = np.unwrap(np.arctan2(-across[:, 2], across[:, 0]))
        self.turned = self.heading[-1] - self.heading[0]
        self.moved = self.root[-1] - self.root[0]
        self.path = np.linalg.norm(np.diff(self.root[:, ::2], axis=0), axis=1).sum()
        self.drop = self.root[0, 1] - self.root[:, 1].min()
        self.rise = self.joints[..., 1].min(axis=1).max()
        self.raised = [w[:, 1] - s[:, 1] for w, s in zip(self.wrist, self.shoulder, strict=True)]
        self.reach = [(w - self.root)[:, 2] for w in self.wrist]
        self.foot = [toe[:, 1].max() for toe in self.toe]


def arm(m: Measured, side: int) -> bool:
    """The arm of this side goes high over its shoulder, the other stays down."""
    return m.raised[side].max() > 0.15 and m.raised[1 - side].max() < 0.0


CHECKS: dict[str, Callable[[Measured, int, str], bool]] = {
    "walk": lambda m, s, t: abs(m.moved[2]) > 0.5 > abs(m.moved[0]) and (m.moved[2] > 0) == ("backward" not in t),
    "run": lambda m, s, t: m.moved[2] > 1.5 and abs(m.moved[0]) < 0.5 and m.rise > 0.03,
    "circle": lambda m, s, t: (
        5.5 < m.turned * (-1 if " clockwise" in t else 1) < 6.9 and m.path > 2.5 and np.linalg.norm(m.moved) < 0.7
    ),
    "turn": lambda m, s, t: (
        2.7 < abs(m.turned) < 3.6
        if "around" in t or "half" in t
        else 1.2 < m.turned * (1 if s == 0 else -1) < 2.0 and m.path < 0.7
    ),
    "sidestep": lambda m, s, t: m.moved[0] * (1 if s == 0 else -1) > 0.25 > abs(m.moved[2]) and abs(m.turned) < 0.4,
    "stumble": lambda m, s, t: abs(m.moved[2]) > 0.4 and (m.moved[2] > 0) == ("backward" not in t),
    "jump": lambda m, s, t: m.rise > 0.1 and (m.moved[2] > 0.6) == ("forward" in t),
    "hop": lambda m, s, t: m.rise > 0.08 and m.foot[1 - s] > m.foot[s] + 0.15,
    "march": lambda m, s, t: min(m.foot) > 0.2 and np.linalg.norm(m.moved) < 0.3,
    "stand": lambda m, s, t: np.abs(np.diff(m.joints, axis=0)).max() * m.fps < 0.5,
    "wave": lambda m, s, t: min(r.max() for r in m.raised) > 0.15 if "both" in t else arm(m, s),
    "raise": lambda m, s, t: min(r.max() for r in m.raised) > 0.3 if "both" in t else arm(m, s),
    "punch": lambda m, s, t: m.reach[s].max() > max(0.45, m.reach[1 - s].max() + 0.1),
    "box": lambda m, s, t: min(r.max() for r in m.reach) > 0.4,
    "throw": lambda m, s, t: m.reach[s].max() > 0.35 and m.raised[s].max() > 0.1 and m.raised[1 - s].max() < 0,
    "clap": lambda m, s, t: np.linalg.norm(m.wrist[0] - m.wrist[1], axis=1).min() < 0.15,
    "wipe": lambda m, s, t: m.reach[s].max() > 0.3 > m.reach[1 - s].max() and np.ptp(m.wrist[s][:, 0]) > 0.25,
    "pick": lambda m, s, t: m.wrist[s][:, 1].min() < min(0.4, m.wrist[1 - s][:, 1].min()) and m.drop > 0.25,
    "kick": lambda m, s, t: m.foot[s] > 0.35 > 0.15 > m.foot[1 - s] and (m.toe[s] - m.root)[:, 2].max() > 0.5,
    "stomp": lambda m, s, t: m.foot[s] > 0.2 > 0.12 > m.foot[1 - s],
    "squat": lambda m, s, t: m.drop > 0.3,
    "kneel": lambda m, s, t: m.knee[s][:, 1].min() < 0.12 and m.knee[1 - s][:, 1].min() > 0.3,
    "lift": lambda m, s, t: m.foot[s] > 0.25 > 0.12 > m.foot[1 - s] and m.knee[s][:, 1].max() > 0.65,
    "bow": lambda m, s, t: (m.head - m.root)[:, 2].max() > 0.35 and m.drop < 0.1,
    "bend": lambda m, s, t: ((m.head - m.root)[:, 0] * (1 if s == 0 else -1)).max() > 0.2,
    "open": lambda m, s, t: np.linalg.norm(m.wrist[0] - m.wrist[1], axis=1).max() > 1.2,
    "drink": lambda m, s, t: (
        np.linalg.norm(m.wrist[s] - m.head, axis=1).min() < 0.35 < np.linalg.norm(m.wrist[1 - s] - m.head, axis=1).min()
    ),
    "catch": lambda m, s, t: min(r.max() for r in m.reach) > 0.4 and np.ptp(m.reach[0]) > 0.3,
}


@pytest.mark.parametrize("joints", [22, 21])
@pytest.mark.parametrize("seed", [0, 11, 2024])
def test_what_a_caption_says_is_what_the_body_does(joints: int, seed: int) -> None:
    assert set(CHECKS) == set(ACTIONS)
    seen: Counter[str] = Counter()
    for motion in generate({"train": 700}, seed, joints).splits["train"]:
        segments = motion.segments or []
        if len(segments) > 1:
            continue
        measured, action = Measured(motion), segments[0].action
        for caption in motion.captions:
            text = caption.text.lower()
            side = 1 if re.search(r"\bright\b", text) else 0
            assert CHECKS[action](measured, side, text), (motion.id, text)
        seen[action] += 1
    assert set(seen) == set(ACTIONS)


@pytest.mark.parametrize("joints", [22, 21])
def test_each_action_of_a_sequence_is_in_its_segment(joints: int) -> None:
    toes, wrists, shoulders = (np.array(JOINTS[joints][name]) for name in ("toe", "wrist", "shoulder"))
    checked = 0
    for motion in generate({"train": 500}, seed=6, joints=joints).splits["train"]:
        for segment in motion.segments or []:
            inside = motion.joints[segment.start : segment.end]
            raised = (inside[:, wrists, 1] - inside[:, shoulders, 1]).max(axis=0)
            lifted = inside[:, toes, 1].max(axis=0)
            if segment.action in ("wave", "raise"):
                for side, name in enumerate(("left_arm", "right_arm")):
                    assert (raised[side] > 0.1) == (name in segment.parts), motion.id
                checked += 1
            if segment.action in ("kick", "stomp", "lift"):
                for side, name in enumerate(("left_leg", "right_leg")):
                    assert (lifted[side] > 0.2) == (name in segment.parts), motion.id
                checked += 1
            if segment.action in ("run", "walk"):
                assert np.linalg.norm(inside[-1, 0, ::2] - inside[0, 0, ::2]) > 0.5
    assert checked > 100


@pytest.mark.parametrize("joints", [22, 21])
@pytest.mark.parametrize("action", ["walk", "run"])
def test_slow_normal_and_fast_locomotion_differ(joints: int, action: str) -> None:
    speeds: dict[str, list[float]] = {"slow": [], "": [], "fast": []}
    for motion in generate({"train": 1500}, seed=1, joints=joints).splits["train"]:
        if [segment.action for segment in motion.segments or []] == [action]:
            text = " ".join(caption.text for caption in motion.captions)
            if "backward" in text:
                continue
            pace = (
                "slow" if re.search("slow|jog", text) else "fast" if re.search("fast|quick|rapid|sprint", text) else ""
            )
            m = Measured(motion)
            speeds[pace].append(np.percentile(np.linalg.norm(np.diff(m.root[:, ::2], axis=0), axis=1), 80) * m.fps)
    assert min(len(values) for values in speeds.values()) >= 3
    assert max(speeds["slow"]) < min(speeds[""])
    assert max(speeds[""]) < min(speeds["fast"])


def test_twice_is_twice() -> None:
    seen: Counter[bool] = Counter()
    for motion in generate({"train": 2000}, seed=3).splits["train"]:
        if [segment.action for segment in motion.segments or []] in (["squat"], ["kick"], ["bow"]):
            twice = bool(re.search("twice|two times", motion.captions[0].text))
            m = Measured(motion)
            side = 1 if "right" in motion.captions[0].text else 0
            action = (motion.segments or [])[0].action
            ahead = {"kick": m.toe[side] - m.root, "bow": m.head - m.root, "squat": m.wrist[0] - m.root}[action]
            level = ahead[:, 2]
            above = level > (level.max() + level[0]) / 2
            assert np.count_nonzero(np.diff(above.astype(int)) == 1) == (2 if twice else 1), motion.id
            seen[twice] += 1
    assert min(seen[True], seen[False]) > 10
