"""Counts in messages."""

from __future__ import annotations

import pytest

from m2t_fast.wording import be, counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 epochs are"), (1, "1 epoch is"), (2, "2 epochs are"), (1200, "1,200 epochs are")]
)
def test_a_number_with_its_noun_and_verb(number: int, said: str) -> None:
    assert f"{counted(number, 'epoch')} {be(number)}" == said


def test_words_that_take_no_s() -> None:
    assert (counted(1, "person", "people"), counted(3, "person", "people")) == ("1 person", "3 people")
    assert (be(1, past=True), be(2, past=True)) == ("was", "were")
