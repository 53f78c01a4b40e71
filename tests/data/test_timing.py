"""Temporal targets: which words get a time, and where it lies."""

from __future__ import annotations

import numpy as np

from m2t_fast.data import load_data
from m2t_fast.data.matching import ActionNames
from m2t_fast.data.raw import Segment
from m2t_fast.data.timing import UNTIMED, temporal_targets

BOW = Segment("bow", 0, 8, ("torso",), words=("bows", None))
WALK = Segment("walk", 8, 20, ("root",), words=("walks", "walks"))
NAMES = ActionNames.of([[BOW, WALK]])


def test_words_that_name_a_segment_get_its_time() -> None:
    first, second = temporal_targets(
        [["a", "man", "bows", "then", "walks"], ["walks", "after", "a", "bow"]], [BOW, WALK], NAMES
    )
    none = [UNTIMED, UNTIMED]
    assert first.tolist() == [none, none, [-0.5, 7.5], none, [7.5, 19.5]]
    assert second.tolist() == [[7.5, 19.5], none, none, none]  # this caption does not name the bow, says the data set
    assert first.dtype == np.float32


def test_without_words_of_its_own_a_segment_is_named_by_its_action() -> None:
    plain = [Segment("bow", 0, 8, ()), Segment("walk", 8, 20, ())]
    (found,) = temporal_targets([["walks", "after", "bowing"]], plain, ActionNames.of([plain]))
    assert found.tolist() == [[7.5, 19.5], [UNTIMED] * 2, [-0.5, 7.5]]


def test_a_motion_without_segments_has_no_times() -> None:
    for segments in (None, []):
        (found,) = temporal_targets([["walks"]], segments, NAMES)
        assert found.tolist() == [[UNTIMED] * 2]
    assert temporal_targets([], [WALK], NAMES) == []


def test_a_split_has_a_time_for_every_token() -> None:
    data = load_data("synthetic", splits=("train",), synthetic_count=30)["train"]
    times = data.temporal_targets
    assert times is not None and times.shape == (len(data.tokens), 2)
    starts = data.token_offsets[:-1]
    assert (times[starts] == UNTIMED).all() and (times[data.token_offsets[1:] - 1] == UNTIMED).all()
    owner = data.caption_motion.repeat_interleave(data.token_offsets.diff())
    timed = times[:, 1] > times[:, 0]
    assert timed.float().mean() > 0.05
    assert (times[timed, 1] <= data.motion_lengths[owner[timed]] - 0.5).all() and (times[timed, 0] >= -0.5).all()
