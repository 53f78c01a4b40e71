"""Boundaries off the grid: the parabola's vertex, the words' windows, and the fit of both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.segmentation.boundaries import EVIDENCE, Refinement, boundary_evidence, moved, vertex
from m2t_fast.segmentation.captions import WORDS, WindowCaptions
from m2t_fast.segmentation.windows import Grid

FPS = 10.0


def looking(windows, first, last):
    """Captions of these windows whose first and last word look at the seconds ``first`` and ``last`` of the take."""
    start, end = windows.T / FPS
    length = end - start
    attention = np.zeros((len(windows), 8), np.float32)
    for column, (begin, stop) in zip((4, 6), (first, last), strict=True):
        attention[:, column] = ((begin + stop) / 2 - start) / length
        attention[:, column + 1] = (stop - begin) / 12**0.5 / length
    ones = np.ones(len(windows), np.int32)
    content = np.full((len(windows), WORDS), -1, np.int32)
    return WindowCaptions(windows, -ones.astype(np.float32), ones, ones, content, attention)


def test_the_evidence_is_where_the_words_windows_begin_and_end():
    grid = Grid()
    windows = grid.windows(60, FPS)
    captions = looking(windows, (3.2, 5.0), (0.5, 2.7))  # behind the boundary from 3.2 s on, before it until 2.7 s
    found = boundary_evidence(captions, np.ones(len(windows)), [0, 30, 60], FPS)
    assert found.shape == (1, EVIDENCE) and found[0, 0] == 0.0  # all sums alike: no vertex
    assert found[0, 1:6] == pytest.approx([-0.3] * 5, abs=1e-5)
    assert found[0, 6:] == pytest.approx([0.2] * 5, abs=1e-5)


def test_windows_that_do_not_exist_say_nothing_and_move_nothing():
    grid = Grid()
    windows = grid.windows(20, FPS)
    captions = looking(windows, (0.0, 1.0), (0.0, 1.0))
    found = boundary_evidence(captions, np.ones(len(windows)), [0, 10, 20], FPS)
    # A boundary a second behind the start leaves no window that would end a half second before it.
    assert np.isnan(found[0, [1, 2]]).all() and np.isfinite(found[0, 3:6]).all()
    assert boundary_evidence(captions, np.ones(len(windows)), [0, 20], FPS).shape == (0, EVIDENCE)
    assert Refinement.of_sums().shifts(found).tolist() == [0.0]


@given(st.floats(-1.0, 1.0), st.integers(1, 20))
def test_the_vertex_is_that_of_the_parabola_within_half_a_step(at, step):
    near = [-step, 0, step]
    sums = [-((x / step - at) ** 2) for x in near]
    assert vertex(sums, near) == pytest.approx(step * min(0.5, max(-0.5, at)), abs=1e-6)
    assert vertex([-value for value in sums], near) == 0.0 and vertex([np.nan, 1.0, 0.0], near) == 0.0


def test_a_fit_finds_the_evidence_that_tells_and_ignores_other_boundaries():
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(400, EVIDENCE)).astype(np.float32) * 0.2
    offsets = 0.5 * evidence[:, 3] - 0.25 * evidence[:, 8] + 0.05
    evidence[::7, 5] = np.nan
    offsets[::10] = 5.0  # of another boundary
    found = Refinement.fit(evidence, offsets)
    told = offsets != 5.0
    assert np.abs(found.shifts(evidence) - offsets)[told].max() < 0.02
    few = Refinement.fit(evidence[:EVIDENCE], offsets[:EVIDENCE])
    assert few.weight.tolist() == Refinement.of_sums().weight.tolist()
    assert np.abs(found.shifts(100 * evidence)).max() == 0.5


@given(st.lists(st.integers(1, 12), min_size=2, max_size=8), st.data())
def test_moved_cuts_keep_their_order_and_the_ends(lengths, data):
    cuts = [0, *np.cumsum(lengths).tolist()]
    shifts = data.draw(st.lists(st.floats(-0.5, 0.5), min_size=len(cuts) - 2, max_size=len(cuts) - 2))
    found = moved(cuts, np.array(shifts), FPS)
    assert found[0] == cuts[0] and found[-1] == cuts[-1]
    assert all(a <= b for a, b in zip(found, found[1:], strict=False))
