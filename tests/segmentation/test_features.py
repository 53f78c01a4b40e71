"""How alike the captions of windows are: sets of stems, by intersection over union."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2t_fast.segmentation.captions import WORDS, WindowCaptions
from m2t_fast.segmentation.features import FEATURES, _Table, window_features
from m2t_fast.segmentation.windows import Grid


def _said(words: list[list[int]]) -> WindowCaptions:
    """Windows of a frame each that say these words."""
    count = len(words)
    content = np.array([row + [-1] * (WORDS - len(row)) for row in words], np.int32)
    windows = np.stack([np.arange(count), np.arange(count) + 1], axis=1)
    ones = np.ones(count, np.int32)
    return WindowCaptions(windows, -ones.astype(np.float32), ones, ones, content, np.zeros((count, 8), np.float32))


@given(words=st.lists(st.lists(st.sampled_from([0, 1, 2, 7, 3000]), max_size=WORDS), min_size=1, max_size=8))
@settings(max_examples=80, deadline=None)
def test_windows_are_as_alike_as_their_sets_of_words(words):
    table = _Table(_said(words), np.arange(len(words) + 1))
    for row, first in enumerate(map(set, words)):
        for other, second in enumerate(map(set, words)):
            expected = len(first & second) / max(len(first | second), 1)
            assert table.alike(np.array([row]), np.array([other])) == pytest.approx(expected)


def test_windows_that_say_nothing_have_features():
    found = window_features(_said([[], [], []]), 1.0, Grid(step=1.0, shortest=1.0, longest=2.0))
    assert found.shape == (3, FEATURES) and np.isfinite(found).all()
