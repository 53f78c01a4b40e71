"""Scores of segments, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from m2t_fast.evaluation.segment_scores import Spoken, matched, segment_scores, soda, tiou
from m2t_fast.evaluation.segment_table import SegmentRow, changes_of_speed, fixed, printed


def spoken(*segments: tuple[float, float, str]) -> list[Spoken]:
    return [Spoken(start, end, (text,)) for start, end, text in segments]


KNOWN = spoken((0, 4, "a person walks forward slowly"), (4, 6, "a person jumps"), (6, 10, "a man waves his left hand"))


def test_what_is_known_scores_all():
    scores = segment_scores([KNOWN], [KNOWN])
    assert [scores[name] for name in ("f1_30", "f1_50", "f1_70", "iou", "count")] == [1.0] * 5
    assert scores["boundary_error"] == 0.0 and scores["matched"] == 3
    assert scores["bleu_4"] == pytest.approx(100.0) and scores["soda"] > 0.95


def test_scores_counted_by_hand():
    found = spoken((0, 5, "a person walks forward slowly"), (5, 10, "a man waves his right hand"))
    scores = segment_scores([found], [KNOWN])
    assert [tiou(f, k) for f, k in ((found[0], KNOWN[0]), (found[1], KNOWN[2]))] == [0.8, 0.8]
    assert scores["f1_70"] == scores["f1_30"] == pytest.approx(2 * 2 / 5)
    assert scores["iou"] == pytest.approx((0.8 + 1 / 6 + 0.8) / 3)
    assert scores["boundary_error"] == pytest.approx(1.0)
    assert scores["count"] == pytest.approx(2 / 3)


def test_content_is_right_where_every_action_is_named():
    walk, wave = frozenset({"walk", "step"}), frozenset({"wave"})
    known = [Spoken(0, 4, ("x",), (walk,)), Spoken(4, 8, ("x",), (walk, wave)), Spoken(8, 12, ("x",))]
    found = spoken((0, 4, "a person steps"), (4, 8, "a person waves"), (8, 12, "a person sits"))
    assert segment_scores([found], [known])["content"] == 0.5
    found[1] = Spoken(4, 8, ("walking he waved",))
    assert segment_scores([found], [known])["content"] == 1.0
    assert segment_scores([found], [known[2:]])["content"] is None


def test_each_segment_is_matched_once_best_pairs_first():
    found = spoken((0, 4, "x"), (0.5, 4, "x"))
    assert matched(found, KNOWN, 0.5) == [(0, 0)]
    assert matched(found[::-1], KNOWN, 0.5) == [(1, 0)]
    assert matched([], KNOWN, 0.5) == []


def test_nothing_found_scores_nothing():
    scores = segment_scores([[]], [KNOWN])
    assert scores["f1_30"] == scores["iou"] == scores["soda"] == 0.0
    assert scores["boundary_error"] is None and scores["bleu_4"] is None


def test_soda_keeps_the_order_of_the_story():
    told = spoken((0, 5, "a person walks"), (5, 10, "a person waves"))
    swapped = spoken((0, 5, "a person waves"), (5, 10, "a person walks"))
    assert soda(told, told) > soda(swapped, told) > 0
    assert soda(told, told) == pytest.approx(soda(told, told[:1] + told[1:]))


@pytest.mark.parametrize(("found", "known"), [([], []), ([KNOWN], [])])
def test_other_numbers_of_takes_are_refused(found, known):
    with pytest.raises(ValueError, match="found, known"):
        segment_scores(found, known)


def test_fixed_windows_tile_a_take():
    assert fixed(100, 40.0) == [(0, 50), (50, 100)]  # two are nearer to 2.5 windows than three when halves go to even
    assert fixed(10, 40.0) == [(0, 10)]


def test_a_change_of_speed_is_found_where_it_is_and_a_still_take_is_whole():
    speed = np.repeat([0.01, 0.1, 0.01], 60)
    joints = np.zeros((180, 22, 3), np.float32)
    joints[:, :, 0] = np.cumsum(speed)[:, None]
    cuts = [end for _, end in changes_of_speed(joints, 20.0)][:-1]
    assert cuts and min(abs(cut - 60) for cut in cuts) <= 1 and min(abs(cut - 120) for cut in cuts) <= 1
    assert changes_of_speed(joints[:5], 20.0) == [(0, 5)]


def test_the_table_says_what_is_missing():
    text = printed(
        [SegmentRow("segments", segment_scores([KNOWN], [KNOWN])), SegmentRow("none", segment_scores([[]], [KNOWN]))]
    )
    head, first, second = text.splitlines()
    assert head.split()[:3] == ["F1@0.3", "F1@0.5", "F1@0.7"]
    assert first.split()[:2] == ["segments", "1.00"] and second.split()[-2] == "-"
