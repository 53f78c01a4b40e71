"""What is measured on bodies whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest

from m2t_fast.data import synthetic
from m2t_fast.preparation.bandai_namco.clips import turn_by
from m2t_fast.preparation.bandai_namco.contents import acting_hands, parts_of
from m2t_fast.preparation.bandai_namco.measures import heading, kicking_side, measure, trunk_angle, turn_frames
from m2t_fast.preparation.mirror import mirror_joints


@pytest.fixture(scope="module")
def standing() -> np.ndarray:
    """A body (22, 3) that stands and faces +Z."""
    return synthetic.generate({"train": 1}, seed=1).splits["train"][0].joints[0].astype(np.float64)


def turning(standing: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    return np.concatenate([turn_by(standing[None], np.radians(angle)) for angle in degrees])


@pytest.mark.parametrize("degrees", [90.0, -90.0, 400.0])
def test_turns(standing: np.ndarray, degrees: float) -> None:
    course = np.concatenate([np.zeros(30), np.linspace(0, degrees, 20), np.full(30, degrees)])
    joints = turning(standing, course)
    found = measure(joints)
    assert found.turn == pytest.approx(degrees, abs=1.0) and found.spin == pytest.approx(abs(degrees), abs=2.0)
    first, end = turn_frames(joints)
    assert 28 <= first <= 36 and 44 <= end <= 52
    faced = np.degrees(heading(joints))
    np.testing.assert_allclose(faced - faced[0], course, atol=1e-6)


def test_walking_is_forward_and_mirrored_walking_to_the_left_is_to_the_right(standing: np.ndarray) -> None:
    steps = np.arange(60)[:, None, None] * np.array([0.01, 0.0, 0.05])  # metres a frame: ahead, and a bit to the left
    found = measure(standing[None] + steps)
    assert found.forward == pytest.approx(1.0, abs=0.05) and found.leftward == pytest.approx(0.2, abs=0.05)
    assert found.speed == pytest.approx(np.hypot(1.0, 0.2), rel=0.05) and found.straight == pytest.approx(1.0, abs=0.05)
    mirrored = measure(mirror_joints(standing[None] + steps))
    assert mirrored.leftward == pytest.approx(-0.2, abs=0.05) and mirrored.forward == pytest.approx(1.0, abs=0.05)


def test_arms_and_feet(standing: np.ndarray) -> None:
    joints = np.repeat(standing[None], 60, axis=0)
    up = np.clip(np.minimum(np.arange(60) - 15, 45 - np.arange(60)) / 8, 0, 1)
    joints[:, 20, 1] += up * 1.1  # the left wrist goes from beside the hip to above the head
    joints[:, 8, 1] += up * 0.5  # the right ankle goes up
    found = measure(joints)
    left, right = found.arms["left"], found.arms["right"]
    assert left.top > 0.3 and left.level == "above" and right.level == "low"
    assert left.rises and left.lowers and 15 <= left.active[0] <= 22 and 38 <= left.active[1] <= 45
    assert kicking_side(joints) == "right" and found.still
    assert acting_hands("guide", found) == ("left",) and parts_of("bye", found, ()) == ("left_arm",)
    assert parts_of("raise-up-both-hands", found, ()) == ("left_arm", "right_arm")
    assert parts_of("kick", found, ("right",)) == ("root", "torso", "right_leg")


def test_bending(standing: np.ndarray) -> None:
    joints = np.repeat(standing[None], 40, axis=0)
    neck, pelvis = joints[20, 12], joints[20, 0]
    height = neck[1] - pelvis[1]
    joints[20, 12] = pelvis + np.array([0.0, height * np.cos(np.radians(50)), height * np.sin(np.radians(50))])
    assert trunk_angle(joints)[20] == pytest.approx(50, abs=1e-6)
    assert measure(joints).trunk == pytest.approx(50, abs=1e-6)
