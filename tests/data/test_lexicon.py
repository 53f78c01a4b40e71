"""The built-in lexicon on sentences like those of KIT-ML."""

from __future__ import annotations

import pytest

from m2t_fast.data.lexicon import tag


@pytest.mark.parametrize(
    ("caption", "motion_words"),
    [
        ("a person walks slowly forward", {"walks": "VERB", "slowly": "ADV", "forward": "ADV"}),
        ("a human is walking 4 steps backwards", {"walking": "VERB", "backwards": "ADV"}),
        ("someone takes four steps and turns around", {"takes": "VERB", "turns": "VERB", "around": "ADV"}),
        ("the subject ran and sat down again", {"ran": "VERB", "sat": "VERB", "down": "ADV", "again": "ADV"}),
        ("a walking man performs a jump", {"walking": "VERB", "performs": "VERB"}),
        ("a family in the early morning", {}),
    ],
)
def test_sentences(caption: str, motion_words: dict[str, str]) -> None:
    words = caption.split()
    assert {word: t for word, t in zip(words, tag(words), strict=True) if t} == motion_words


def test_the_same_word_as_adverb_and_as_noun() -> None:
    assert tag(["he", "goes", "back", "on", "his", "back"]) == [None, "VERB", "ADV", None, None, None]


def test_no_words() -> None:
    assert tag([]) == []
