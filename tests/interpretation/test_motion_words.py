"""Which words the pictures explain: by gate and by what kind of word it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.interpretation.motion_words import FUNCTION_WORDS, motion_words


@pytest.mark.parametrize(
    ("caption", "gates", "expected"),
    [
        ("a person walks and then boxes with the left hand", (0, 0, 1, 1, 1, 1, 1, 0, 1, 0.6), "walks boxes left hand"),
        ("Then he steps up around it", (0.9, 0.9, 0.5, 0.7, 0.7, 0.9), "steps up around"),
        ("a person waits", (0.1, 0.2, 0.3), "waits"),  # all are low: the highest
        ("and then", (0.3, 0.9), "then"),  # nothing else is left
    ],
)
def test_words(caption: str, gates: tuple, expected: str) -> None:
    words = caption.split()
    assert " ".join(words[number] for number in motion_words(words, gates)) == expected


def test_no_words() -> None:
    assert motion_words([], []) == []


@given(st.data())
def test_in_order_and_over_the_threshold_or_one(data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from(["jumps", "then", "the", "up", "日本"]), min_size=1, max_size=8))
    gates = data.draw(st.lists(st.floats(0, 1), min_size=len(words), max_size=len(words)))
    found = motion_words(words, gates, 0.5)
    assert found == sorted(found) and found
    if len(found) > 1:
        assert all(gates[number] >= 0.5 and words[number] not in FUNCTION_WORDS for number in found)
