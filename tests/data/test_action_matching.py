"""Which word names which action: names, order, repetition, and agreement with what a data set says itself."""

from __future__ import annotations

import pytest

from m2t_fast.data.loading import load_data
from m2t_fast.data.matching import ActionNames, annotated_words, match_words
from m2t_fast.data.raw import Segment


def segment(action: str, *words: str | None) -> Segment:
    return Segment(action, 0, 10, ("root",), words=words)


WALK, TURN, WAVE = segment("walk", "walk", "step"), segment("walk-turn-left", "turn", None), segment("wave", "wave")
NAMES = ActionNames.of([[WALK, TURN, WALK], [WAVE], None])


def matched(text: str, *segments: Segment) -> dict[int, int]:
    """Place of each word that names a segment, to the number of the segment."""
    return {place: n for place, n in enumerate(match_words(text.split(), segments, NAMES)) if n is not None}


def test_names_are_stems_of_all_forms() -> None:
    assert NAMES.stems == {"walk": {"walk", "step"}, "walk-turn-left": {"turn"}, "wave": {"wave"}}
    for word in ("walks", "walking", "Stepped", "steps"):
        assert NAMES.named_by(word, WALK)
    assert not NAMES.named_by("turns", WALK)


def test_irregular_forms() -> None:
    throw = segment("throw", "throw")
    assert ActionNames.of([[throw]]).named_by("threw", throw)


def test_a_rare_name_counts_in_its_own_motion_only() -> None:
    usual = [segment("run", *["run"] * 30)]
    rare = segment("run", "dash")
    names = ActionNames.of([usual, [rare]])
    assert names.stems["run"] == {"run"}
    assert names.named_by("dashes", rare) and not names.named_by("dashes", usual[0])


def test_actions_without_words_are_called_by_their_verbs() -> None:
    plain = [Segment(name, 0, 1, ()) for name in ("walk-turn-left", "raise_up_left_hand", "breakdance")]
    assert ActionNames.of([plain]).stems == {
        "walk-turn-left": {"walk", "turn"},
        "raise_up_left_hand": {"rais"},
        "breakdance": {"breakdanc"},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a person walks and turns left", {2: 0, 4: 1}),
        ("a person walks turns and walks on", {2: 0, 3: 1, 5: 2}),  # in order of occurrence
        ("turns left and continues walking", {0: 1, 4: 2}),  # behind what was named before
        ("turns after walking and stepping", {0: 1, 2: 2, 4: 0}),  # what is left
        ("walks turns walks and is walking", {0: 0, 1: 1, 2: 2, 5: 2}),  # once more: the last one
        ("a person waves", {}),
        ("", {}),
    ],
)
def test_order(text: str, expected: dict[int, int]) -> None:
    assert matched(text, WALK, TURN, WALK) == expected


def test_adverbs_name_nothing() -> None:
    back = segment("walk-back", "back", "walk")
    names = ActionNames.of([[back]])
    assert match_words(["walks", "up", "and", "back"], [back], names) == [0, None, None, None]
    assert match_words(["backs", "up"], [back], names) == [0, None]


def test_annotated_words() -> None:
    segments = [segment("walk", "walk", "step"), segment("turn", "turn", None), segment("walk", "walk", None)]
    assert annotated_words(["he", "walks", "then", "turning", "walks", "on"], segments, 0) == [
        None,
        0,
        None,
        1,
        2,
        None,
    ]
    assert annotated_words(["takes", "steps", "and", "turns"], segments, 1) == [None, 0, None, None]
    assert annotated_words(["walks"], segments, 7) == [None]


def test_matching_finds_what_synthetic_captions_name() -> None:
    test = load_data("synthetic", splits=("train", "test"), synthetic_count={"train": 40, "val": 1, "test": 40})["test"]
    assert test.segments is not None
    names = ActionNames.of(test.segments)
    for segments, references in zip(test.segments, test.references, strict=True):
        assert segments is not None
        for number, text in enumerate(references):
            words = text.split()
            annotated, found = annotated_words(words, segments, number), match_words(words, segments, names)
            assert sorted(n for n in annotated if n is not None) == list(range(len(segments)))
            assert [n for n, known in zip(found, annotated, strict=True) if known is not None] == [
                n for n in annotated if n is not None
            ]
