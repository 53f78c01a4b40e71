"""Frame rates: what is exact, where the frames lie, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.motion import resample


def line(frames: int, fps: float) -> np.ndarray:
    """A joint that moves 1, 2 and 3 metres a second."""
    return (np.arange(frames)[:, None, None] / fps * np.array([1.0, 2.0, 3.0])).astype(np.float64)


@given(frames=st.integers(1, 60), fps=st.floats(1, 240), target=st.sampled_from([12.5, 20.0]))
def test_uniform_motion_stays_uniform(frames: int, fps: float, target: float) -> None:
    result = resample(line(frames, fps), fps, target)
    if abs(fps / target - 1) < 1e-3:
        assert len(result) == frames
        return
    np.testing.assert_allclose(result, line(len(result), target), atol=0.0031 / fps)  # at most 1/1000 frame held
    lasts = (frames - 1) / fps
    assert (len(result) - 1) / target <= lasts + 0.0011 / target < (len(result) + 0.0011) / target


@pytest.mark.parametrize(
    ("fps", "target", "kept"),
    [(40.0, 20.0, [0, 2, 4, 6]), (120.0, 20.0, [0, 6]), (25.0, 12.5, [0, 2, 4, 6]), (1 / 0.0083333, 20.0, [0, 6])],
)
def test_every_nth_frame_where_the_rates_divide(fps: float, target: float, kept: list[int]) -> None:
    joints = np.random.default_rng(0).normal(size=(7, 22, 3)).astype(np.float32)
    result = resample(joints, fps, target)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, joints[kept], atol=1e-3)


def test_between_frames_by_hand() -> None:
    np.testing.assert_allclose(resample(np.array([0.0, 1.0, 4.0]), 10.0, 20.0), [0, 0.5, 1, 2.5, 4])
    np.testing.assert_allclose(resample(np.array([0.0, 3.0, 6.0, 7.0]), 30.0, 20.0), [0, 4.5, 7])


def test_equal_rates_change_nothing() -> None:
    joints = np.random.default_rng(0).normal(size=(50, 21, 3))
    assert resample(joints, 12.5, 12.5) is joints
    assert resample(joints, 1 / 0.0333333, 30.0) is joints


def test_one_frame() -> None:
    assert resample(np.ones((1, 22, 3)), 120.0, 20.0).shape == (1, 22, 3)


@pytest.mark.parametrize(
    ("frames", "fps", "target", "message"),
    [
        (5, 0.0, 20.0, "fps: got 0.0"),
        (5, -1.0, 20.0, "fps: got -1.0"),
        (5, float("nan"), 20.0, "fps: got nan"),
        (5, float("inf"), 20.0, "fps: got inf"),
        (5, 20.0, 0.0, "target: got 0.0"),
        (5, 5e-324, 20.0, "too long"),
        (5, 0.01, 20.0, "5 frames at 0.01 per second last 500 s, too long"),
        (0, 20.0, 10.0, "joints: got no frames"),
        (200, 0.001, 20.0, "200 frames at 0.001 per second last 2e\\+05 s, too long"),
    ],
)
def test_refused(frames: int, fps: float, target: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resample(np.zeros((frames, 2, 3)), fps, target)
