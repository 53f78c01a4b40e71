"""Targets of every word of table 5, inflected, and the order of the rules."""

from __future__ import annotations

import numpy as np
import pytest

from m2t_fast.data.supervision import ARMS, CONNECTIONS, LEGS, SUBJECTS, TORSO, TRAJECTORY, category, targets
from m2t_fast.skeleton import PART_NAMES

NONE = [-1] * 6


def parts(*names: str) -> list[int]:
    return [int(name in names) for name in PART_NAMES]


def test_a_whole_caption() -> None:
    pairs = [
        *(("a", "DET"), ("person", "NOUN"), ("is", "AUX"), ("walking", "VERB"), ("forward", "ADV"), ("slowly", "ADV")),
        *(("and", "CCONJ"), ("waves", "VERB"), ("with", "ADP"), ("his", "PRON"), ("left", "ADJ"), ("hand", "NOUN")),
        *(("then", "ADV"), ("bows", "VERB")),
    ]
    words, tags = zip(*pairs, strict=True)
    gate, spatial = targets(words, tags)
    assert gate.dtype == spatial.dtype == np.int8
    assert gate.tolist() == [0, 0, 0, 1, 1, 1, -1, 1, -1, 0, -1, -1, 1, 1]
    expected = [NONE] * len(words)
    expected[4] = parts("root")
    expected[7] = parts("left_arm", "right_arm")
    expected[13] = parts("torso")
    assert spatial.tolist() == expected


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (TRAJECTORY, ("root",)),
        (ARMS, ("left_arm", "right_arm")),
        (LEGS, ("left_leg", "right_leg")),
        (TORSO, ("torso",)),
    ],
)
@pytest.mark.parametrize("tag", ["VERB", "ADV", "ADJ", None])
def test_listed_words_come_before_the_tags(words: tuple[str, ...], names: tuple[str, ...], tag: str | None) -> None:
    gate, spatial = targets(list(words), [tag] * len(words))
    assert gate.tolist() == [1] * len(words)
    assert spatial.tolist() == [parts(*names)] * len(words)


@pytest.mark.parametrize("tag", ["VERB", "AUX", "ADV", "DET", None])
def test_connection_words_and_subjects_are_never_motion_words(tag: str | None) -> None:
    words = [*sorted(CONNECTIONS), *SUBJECTS, "persons", "humans", "person's"]
    gate, spatial = targets(words, [tag] * len(words))
    assert not gate.any()
    assert (spatial == -1).all()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("forwards", "trajectory"),
        ("circling", "trajectory"),
        ("waving", "arms"),
        ("boxing", "arms"),
        ("threw", "arms"),
        ("caught", "arms"),
        ("kicked", "legs"),
        ("stood", "legs"),
        ("knelt", "legs"),
        ("rotation", "legs"),
        ("bent", "torso"),
        ("bowing", "torso"),
    ],
)
def test_inflected_forms(word: str, expected: str) -> None:
    assert category(word, "VERB") == expected


def test_stems_that_meet_by_accident() -> None:
    assert category("box", "NOUN") == "other" and category("boxes", "VERB") == "arms"
    assert category("boxing", "NOUN") == "arms"
    assert category("it", "PRON") == "other" and category("hi", "INTJ") == "other"


def test_other_words_follow_their_tag() -> None:
    assert category("walks", "VERB") == "motion" and category("quickly", "ADV") == "motion"
    assert category("walk", "NOUN") == "other" and category("walks", None) == "other"
    assert category("are", "AUX") == "other"


def test_numbers_must_agree() -> None:
    with pytest.raises(ValueError, match=r"tags: got 1, expected one per word \(2\)"):
        targets(["a", "person"], ["DET"])
    gate, spatial = targets([], [])
    assert gate.shape == (0,) and spatial.shape == (0, 6)
