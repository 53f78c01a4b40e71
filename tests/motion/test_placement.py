"""Units, up axis and the start of a motion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.cli.motion_files import UNITS
from m2t_fast.motion.placement import GUESSED, METRES, guess_unit, guess_up, leg_lengths, place, to_y_up
from m2t_fast.skeleton import HUMANML3D, KIT, SKELETONS, Skeleton


def about_y(angle: float) -> np.ndarray:
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
@pytest.mark.parametrize("unit", GUESSED)
def test_units_by_the_body(skeleton: Skeleton, unit: str, motions: Callable) -> None:
    for joints in motions(skeleton.joints):
        metres, said = guess_unit(joints / METRES[unit], skeleton)
        assert metres == METRES[unit] and said.startswith(f"unit {unit} (a body of about 1.")


def test_an_unknown_unit_is_scaled(motions: Callable) -> None:
    joints = motions(22)[0]
    metres, said = guess_unit(joints * 5, HUMANML3D)
    assert np.median(leg_lengths(joints * 5 * metres, HUMANML3D)) == pytest.approx(0.82)
    assert "unit unknown" in said and "--units" in said
    assert guess_unit(np.zeros((3, 22, 3)), HUMANML3D)[0] == 1.0


def test_the_command_line_offers_every_unit() -> None:
    assert tuple(METRES) == UNITS
    assert METRES["cmu"] == pytest.approx(0.0564444, abs=1e-6) and METRES["kit"] == 1 / 640


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_up_axis(skeleton: Skeleton, motions: Callable) -> None:
    for joints in motions(skeleton.joints):
        assert guess_up(joints, joints[0], skeleton) == ("y", "Y up")
        z_up = np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1)
        assert guess_up(z_up, z_up[0], skeleton) == ("z", "Z up")
        np.testing.assert_array_equal(to_y_up(z_up, "z"), joints)
        upside_down = joints * [1, -1, -1]
        assert guess_up(upside_down, upside_down[0], skeleton)[0] == "y"


def test_who_lies_all_the_time_is_told_by_the_rest_pose(motions: Callable) -> None:
    standing = motions(22)[0][:1]
    lying = np.repeat(standing[..., [0, 2, 1]] * 0.7 + standing * 0.6, 9, axis=0)  # half way between the axes
    assert guess_up(lying, standing[0], HUMANML3D) == ("y", "Y up by the rest pose")
    assert guess_up(lying, standing[0][:, [0, 2, 1]], HUMANML3D) == ("z", "Z up by the rest pose")
    along_x = standing[0][:, [1, 0, 0]] * [1, 0, 0]
    up, said = guess_up(lying, along_x, HUMANML3D)
    assert up == "y" and "not clear" in said and "--up" in said


def crawl(joints: np.ndarray, metres: float) -> np.ndarray:
    """Somebody bent forward by two thirds of a right angle who moves along Z."""
    sine, cosine = np.sin(np.pi / 2.6), np.cos(np.pi / 2.6)
    bent = np.repeat(joints[:1], 40, axis=0) @ np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
    bent[..., 1] -= bent[..., 1].min()
    bent[..., 2] += np.linspace(0, metres, 40)[:, None]
    return bent


def test_who_crawls_is_told_by_the_floor(motions: Callable) -> None:
    along_x = motions(22)[0][0][:, [1, 0, 0]] * [1, 0, 0]
    crawling = crawl(motions(22)[0].astype(np.float64), 4.0)
    assert guess_up(crawling, along_x, HUMANML3D) == ("y", "Y up by the floor")
    z_up = np.stack([crawling[..., 0], -crawling[..., 2], crawling[..., 1]], axis=-1)
    assert guess_up(z_up, along_x, HUMANML3D) == ("z", "Z up by the floor")


def test_a_turn_keeps_left_left() -> None:
    body = np.eye(3)
    assert np.linalg.det(to_y_up(body, "z")) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="up: got 'w'"):
        to_y_up(body, "w")


@given(angle=st.floats(-7, 7), shift=st.lists(st.floats(-5, 5), min_size=3, max_size=3), kit=st.booleans())
def test_placing_undoes_any_turn_and_shift(motions: Callable, angle: float, shift: list[float], kit: bool) -> None:
    skeleton = KIT if kit else HUMANML3D
    joints = motions(skeleton.joints)[1].astype(np.float64)
    placed = place(joints @ about_y(angle).T + shift, skeleton)
    np.testing.assert_allclose(placed, place(joints, skeleton), atol=1e-9)
    assert placed[..., 1].min() == 0.0
    assert placed[0, 0, [0, 2]].tolist() == [0.0, 0.0]
    hips, shoulders = ((11, 16), (5, 8)) if kit else ((1, 2), (16, 17))
    across = sum(placed[0, left] - placed[0, right] for left, right in (hips, shoulders))
    assert across[0] > 0 and abs(across[2]) < 1e-9  # from right to left is +X: it faces +Z


@pytest.mark.parametrize("skeleton", SKELETONS, ids=lambda s: s.name)
def test_training_motions_stay_where_they_are(skeleton: Skeleton, motions: Callable) -> None:
    for joints in motions(skeleton.joints):
        moved = np.linalg.norm(place(joints, skeleton) - joints, axis=-1)
        assert moved.max() < 0.15 * max(1.0, np.abs(joints).max())  # its first pose may be slightly twisted


def test_lying_on_a_side_does_not_tell_the_facing(motions: Callable) -> None:
    joints = motions(22)[0].astype(np.float64)
    on_the_side = joints[..., [1, 0, 2]] * [-1, 1, 1]  # a quarter turn about Z: from right to left is up
    alone = place(on_the_side, HUMANML3D)
    expected = on_the_side - on_the_side[0, 0]
    expected[..., 1] -= expected[..., 1].min()
    np.testing.assert_allclose(alone, expected)
    then_standing = np.concatenate([on_the_side, joints @ about_y(2.0).T])
    np.testing.assert_allclose(
        np.diff(place(then_standing, HUMANML3D)[len(joints) :], axis=0), np.diff(place(joints, HUMANML3D), axis=0)
    )
