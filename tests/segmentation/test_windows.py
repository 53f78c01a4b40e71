"""Windows of a take: which there are, and that each is placed as a motion of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2t_fast.data import synthetic
from m2t_fast.data.takes import make_takes
from m2t_fast.motion.placement import place
from m2t_fast.segmentation.windows import Grid, placed, placed_together
from m2t_fast.skeleton import HUMANML3D, KIT


@given(frames=st.integers(1, 900), fps=st.sampled_from([10.0, 12.5, 20.0, 30.0]))
@settings(max_examples=60, deadline=None)
def test_windows_lie_on_the_grid_and_can_tile_every_take(frames, fps):
    grid = Grid()
    windows = grid.windows(frames, fps)
    assert (windows[:, 0] >= 0).all() and (windows[:, 1] <= frames).all() and (windows[:, 0] < windows[:, 1]).all()
    assert len({tuple(window) for window in windows.tolist()}) == len(windows)
    if frames >= grid.shortest * fps + 1:
        seconds = (windows[:, 1] - windows[:, 0]) / fps
        assert seconds.min() >= grid.shortest - 1 / fps and seconds.max() <= grid.longest + 1 / fps
    reached = {0}
    for start, end in sorted(map(tuple, windows.tolist())):
        if start in reached:
            reached.add(end)
    assert frames in reached


@pytest.mark.parametrize(
    "sizes", [{"step": 0.0}, {"step": 2.0}, {"longest": 1.5}, {"longest": float("inf")}, {"shortest": 6.0}]
)
def test_grids_that_cannot_tile_are_refused(sizes):
    with pytest.raises(ValueError, match=r"^(step|longest): got"):
        Grid(**sizes)


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda s: s.name)
def test_every_window_is_placed_as_a_motion_of_its_own(skeleton):
    clips = synthetic.generate(40, joints=skeleton.joints).splits["train"]
    joints = make_takes(clips, skeleton, 1, seed=0)[0].joints
    windows = Grid().windows(len(joints), skeleton.fps)
    for (start, end), window in zip(windows[::13], list(placed(joints, windows, skeleton))[::13], strict=True):
        np.testing.assert_allclose(window, place(joints[start:end], skeleton), atol=2e-5)


def test_a_window_that_does_not_tell_the_facing_is_not_turned():
    joints = synthetic.generate(3).splits["train"][0].joints[:40].copy()
    lying = joints[:20, :, [1, 0, 2]]  # on a side: the line from right to left points up
    joints = np.concatenate([lying, joints[20:]])
    windows = np.array([[0, 10], [0, 40]])
    for (start, end), window in zip(windows, placed(joints, windows, HUMANML3D), strict=True):
        np.testing.assert_allclose(window, place(joints[start:end], HUMANML3D), atol=2e-5)


@given(
    floors=st.lists(st.sampled_from([0.0, 0.1, 0.2]), min_size=45, max_size=45),
    lying=st.integers(0, 45),
    windows=st.lists(st.tuples(st.integers(0, 44), st.integers(1, 45)), min_size=1, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_windows_that_are_placed_together_begin_as_each_would_alone(floors, lying, windows):
    joints = synthetic.generate(3).splits["train"][0].joints[:45].copy()
    joints[..., 1] += np.array(floors, np.float32)[:, None]
    joints[:lying] = joints[:lying, :, [1, 0, 2]]
    windows = np.array(sorted((start, min(start + size, 45)) for start, size in windows))
    seen = []
    for frames, alike in placed_together(joints, windows, HUMANML3D):
        for number in alike:
            (alone,) = placed(joints, windows[[number]], HUMANML3D)
            assert (frames[: len(alone)] == alone).all()
            seen.append(number)
        assert len(frames) == max(windows[alike, 1] - windows[alike, 0])
    assert seen == list(range(len(windows)))


def test_windows_on_one_floor_are_placed_together():
    joints = synthetic.generate(3).splits["train"][0].joints[:60].copy()
    joints[..., 1] += 1.0
    joints[[0, 20], 10, 1] = 0.5, 0.25  # the lowest from there on
    windows = np.array([[0, 10], [0, 20], [0, 21], [0, 60], [5, 10], [5, 60]])
    together = [alike.tolist() for _, alike in placed_together(joints, windows, HUMANML3D)]
    assert together == [[0, 1], [2, 3], [4], [5]]
