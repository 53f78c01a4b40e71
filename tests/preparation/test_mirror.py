"""Mirrored motions: joints and words."""

from __future__ import annotations

import numpy as np
import pytest

from m2t_fast.data import synthetic
from m2t_fast.data.raw import Caption, RawMotion, Segment
from m2t_fast.motion import JOINT_NAMES
from m2t_fast.preparation import mirror_caption, mirror_joints, mirror_motion


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("turns Left, then RIGHT.", "turns Right, then LEFT."),
        ("walks clockwise", "walks counterclockwise"),
        ("walks counter-clockwise to the left-hand side", "walks clockwise to the right-hand side"),
        ("Anticlockwise steps leftwards", "Clockwise steps rightwards"),
        ("stands upright, then right away lifts the right leg", "stands upright, then right away lifts the left leg"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_captions(text: str, mirrored: str) -> None:
    assert mirror_caption(text) == mirrored
    assert mirror_caption(mirror_caption(text)).lower() in (
        text.lower(),
        text.lower().replace("counter-", "counter"),
        (text.lower().replace("anti", "counter")),
    )


@pytest.mark.parametrize("joints", [21, 22])
def test_joints(joints: int) -> None:
    motion = synthetic.generate(3, seed=2, joints=joints).splits["train"][0].joints
    mirrored = mirror_joints(motion)
    np.testing.assert_array_equal(mirror_joints(mirrored), motion)
    names = JOINT_NAMES[{21: "kit", 22: "humanml3d"}[joints]]
    left, right = names.index("left_wrist"), names.index("right_wrist")
    np.testing.assert_array_equal(mirrored[:, left], motion[:, right] * np.float32([-1, 1, 1]))
    np.testing.assert_array_equal(mirrored[:, names.index("neck"), 1:], motion[:, names.index("neck"), 1:])
    assert mirrored[0, left, 0] > mirrored[0, right, 0]  # the left side is still at +X


def test_a_motion() -> None:
    caption = Caption("waves the left hand", (("wave", "VERB"), ("the", "DET"), ("left", "ADJ"), ("hand", "NOUN")))
    motion = RawMotion("7", np.zeros((4, 22, 3), np.float32), [caption], [Segment("left wave", 0, 2, ("left_arm",))])
    mirrored = mirror_motion(motion)
    assert mirrored.id == "M7" and mirrored.captions[0].text == "waves the right hand"
    assert mirrored.captions[0].tags == (("wave", "VERB"), ("the", "DET"), ("right", "ADJ"), ("hand", "NOUN"))
    assert mirrored.segments == [Segment("right wave", 0, 2, ("right_arm",))]
