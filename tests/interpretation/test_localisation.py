"""Measures on examples worked by hand: ranges, overlap, AUC, hits, onsets, parts."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.data.raw import Segment
from m2t_fast.interpretation.localisation import (
    WIDTH,
    Range,
    matches_of,
    measure,
    overlap,
    rank_auc,
    segment_range,
    word_range,
)
from m2t_fast.skeleton import PART_NAMES


def data_set(*motions: list[Segment] | None, frames: int = 20) -> SimpleNamespace:
    """What the measures read of a data set: segments, lengths (``frames`` each) and 10 frames a second."""
    return SimpleNamespace(segments=list(motions), motion_lengths=torch.tensor([frames] * len(motions)), fps=10.0)


def test_even_attention_gives_its_action_back() -> None:
    """The moments of a uniform attention over frames 4 to 15, put back through sqrt(3) standard deviations."""
    frames = np.arange(4, 16)
    found = word_range(float(frames.mean()), float(np.sqrt((12**2) / 12)), 40)
    assert found == pytest.approx((3.5, 15.5))
    assert found == pytest.approx(segment_range(Segment("walk", 4, 16, ())))


def test_ranges_are_cut_and_at_least_a_frame() -> None:
    assert word_range(2.0, 4.0, 10, 2.0) == Range(-0.5, 9.5)
    assert word_range(3.0, 1e-3, 10) == Range(2.5, 3.5)
    assert word_range(5.0, 1.0, 10, 2.0) == Range(3.0, 7.0)


def test_segment_ranges() -> None:
    segment = Segment("bow", 2, 9, (), active=(4, 6))
    assert segment_range(segment) == Range(1.5, 8.5)
    assert segment_range(segment, "active") == Range(3.5, 5.5)
    assert segment_range(Segment("bow", 2, 9, ()), "active") == Range(1.5, 8.5)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 4), (2, 6), 2 / 6),
        ((0, 4), (0, 4), 1.0),
        ((0, 4), (1, 2), 0.25),
        ((0, 1), (1, 2), 0.0),
        ((0, 1), (5, 6), 0.0),
    ],
)
def test_overlap(first: tuple, second: tuple, expected: float) -> None:
    assert overlap(Range(*first), Range(*second)) == overlap(Range(*second), Range(*first)) == pytest.approx(expected)


def test_auc_by_hand() -> None:
    assert rank_auc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert rank_auc([0.1], [0.9, 0.8]) == 0.0
    assert rank_auc([0.5, 0.9], [0.5, 0.1]) == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert rank_auc([1, 1], [1, 1, 1]) == 0.5
    assert math.isnan(rank_auc([], [1.0])) and math.isnan(rank_auc([1.0], []))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_auc_counts_pairs(positive: list[int], negative: list[int]) -> None:
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert rank_auc(positive, negative) == pytest.approx(sum(pairs) / len(pairs))


@pytest.fixture
def example(word) -> tuple[list, SimpleNamespace]:  # noqa: ANN001
    """Two motions of 20 frames: walk (0 to 10) and wave (10 to 20); a kick alone.

    The first caption says "person walks and waves", the second "person kicks".
    """
    two = [
        Segment("walk", 0, 10, ("root", "left_leg", "right_leg"), words=("walk",)),
        Segment("wave", 10, 20, ("right_arm",), active=(12, 18), words=("wave",)),
    ]
    one = [Segment("kick", 0, 20, ("left_leg",), words=("kick",))]
    left_arm, right_arm, left_leg = (PART_NAMES.index(name) for name in ("left_arm", "right_arm", "left_leg"))
    records = [
        word("person", kind=0, gate=0.2, place=0),
        # 2 frames of each side of 4.5: 2.5 to 6.5, of -0.5 to 9.5
        word("walks", mean=4.5, std=2.0, gate=0.9, part=left_leg, place=1),
        word("and", kind=-1, gate=0.99, place=2),
        # 9.5 to 19.5, the segment itself
        word("waves", mean=14.5, std=5.0, gate=0.7, part=left_arm, supervised=True, place=3),
        word("person", kind=0, gate=0.7, motion=1, place=0),
        # the whole motion
        word("kicks", mean=9.5, std=50.0, gate=0.8, part=left_leg, motion=1, place=1, share=np.eye(6)[right_arm]),
    ]
    return records, data_set(two, one)


def test_measure_by_hand(example: tuple) -> None:
    records, data = example
    measured = measure(records, data, references=True, width=1.0)
    assert (measured["words"], measured["actions"], measured["named"]) == (3, 3, 1.0)
    found = measured["localisation"]
    assert found["onset_error"] == pytest.approx((0.3 + 0.0 + 0.0) / 3)
    assert found["iou"] == pytest.approx((0.4 + 1.0 + 1.0) / 3)
    assert found["hit_rate"] == pytest.approx(2 / 3)
    assert found["whole"] == pytest.approx({"onset_error": 1.0 / 3, "iou": 2 / 3, "hit_rate": 1.0})
    several = found["several"]
    assert (several["words"], several["onset_error"]) == (2, pytest.approx(0.15))
    assert several["iou"] == pytest.approx(0.7) and several["hit_rate"] == 0.5
    assert several["whole"] == pytest.approx({"onset_error": 0.5, "iou": 0.5, "hit_rate": 1.0})
    parts = measured["parts"]
    assert parts["accuracy"] == pytest.approx(1 / 3)  # the walk
    assert parts["limb_accuracy"] == pytest.approx(2 / 3)  # and the arm of the wave
    assert parts["peak_accuracy"] == pytest.approx(2 / 3)  # the walk and the kick
    assert (parts["supervised"], parts["unsupervised"]) == (0.0, 0.5)
    assert parts["chance"] == pytest.approx((3 + 1 + 1) / 18)
    gate = measured["gate"]
    # 0.9, 0.7, 0.8 against 0.2, 0.7: five of six pairs, and one tie
    assert gate["auc"] == pytest.approx(5.5 / 6)
    assert (gate["motion_words"], gate["other_words"]) == (3, 2)
    assert gate["motion_mean"] == pytest.approx(0.8) and gate["other_mean"] == pytest.approx(0.45)


def test_active_times(example: tuple) -> None:
    records, data = example
    found = {m.record.word: m for m in matches_of(records, data, True, 1.0, "active")[0]}
    assert found["waves"].true == Range(11.5, 17.5) and found["walks"].true == Range(-0.5, 9.5)
    measured = measure(records, data, True, 1.0, "active")["localisation"]
    assert measured["onset_error"] == pytest.approx((0.3 + 0.2 + 0.0) / 3)
    assert measured["iou"] == pytest.approx((0.4 + 0.6 + 1.0) / 3)


def test_generated_words_that_name_nothing(example: tuple, word) -> None:  # noqa: ANN001
    records, data = example
    records = [r for r in records if r.word != "waves"] + [word("jumps", motion=1, place=2)]
    measured = measure(records, data, references=False)
    assert (measured["words"], measured["actions"]) == (2, 3)
    assert measured["named"] == pytest.approx(2 / 3)


def test_references_count_only_the_actions_they_name(word) -> None:  # noqa: ANN001
    segments = [Segment("walk", 0, 10, (), words=("walk", None)), Segment("wave", 10, 20, (), words=("wave", "wave"))]
    records = [word("walks"), word("waves", place=1), word("waves", caption=1)]
    found, actions = matches_of(records, data_set(segments), references=True)
    assert [(m.record.caption, m.number) for m in found] == [(0, 0), (0, 1), (1, 1)] and actions == 3


def test_nothing_known(word) -> None:  # noqa: ANN001
    for data in (data_set(None), data_set([]), SimpleNamespace(segments=None, fps=10.0)):
        measured = measure([word()], data, references=False)
        assert (measured["words"], measured["actions"], measured["named"]) == (0, 0, None)
        assert measured["localisation"]["iou"] is None and measured["localisation"]["several"]["words"] == 0
        assert measured["parts"]["accuracy"] is None and measured["gate"]["auc"] is None
        assert measured["gate"]["motion_mean"] == 0.9


def test_refused(word) -> None:  # noqa: ANN001
    for width in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="width: got"):
            measure([word()], data_set([]), False, width)
    with pytest.raises(ValueError, match="times: got 'never', expected one of segments, active"):
        measure([word()], data_set([]), False, times="never")


def test_a_real_run(trained) -> None:  # noqa: ANN001
    measured = measure(trained.read, trained.test, references=True)
    assert measured["named"] == 1.0
    assert (
        measured["words"]
        == measured["actions"]
        == sum(len(s) * len(r) for s, r in zip(trained.test.segments, trained.test.references, strict=True))
    )
    assert measured["gate"]["auc"] > 0.9  # the easiest of the losses, learnt even by this small run
    assert 0 < measured["localisation"]["iou"] < 1
    assert pytest.approx(1.7320508) == WIDTH
