"""Alignment of tags with raw words, and taggers for captions without tags."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.data import tagging
from m2t_fast.data.tagging import align_tags, caption_tags, tag_words, tagger_name


@pytest.fixture
def fresh_tagger() -> Iterator[None]:
    """The choice of a tagger is made anew in the test, and once more after it."""
    tagging._tagger.cache_clear()
    yield
    tagging._tagger.cache_clear()


def tagged(text: str) -> list[tuple[str, str]]:
    return [(token, tag) for token, _, tag in (item.rpartition("/") for item in text.split())]


def test_equal_numbers_align_by_position() -> None:
    assert align_tags(["he", "was", "bent"], tagged("he/PRON be/AUX bend/VERB")) == ["PRON", "AUX", "VERB"]


def test_punctuation_and_compounds() -> None:
    tags = align_tags(["a", "counter", "clockwise", "turn"], tagged("a/DET counter-clockwise/ADJ turn/NOUN ./PUNCT"))
    assert tags == ["DET", "ADJ", "ADJ", "NOUN"]


def test_missing_tokens_align_by_stem() -> None:
    words = ["a", "person's", "arm", "bent", "and", "he", "walks", "4", "steps", "forward"]
    tags = align_tags(words, tagged("a/det person/NOUN arm/NOUN bend/VERB and/CCONJ he/PRON walk/VERB step/NOUN"))
    assert tags == ["DET", "NOUN", "NOUN", "VERB", "CCONJ", "PRON", "VERB", None, "NOUN", None]


def test_nothing_in_common() -> None:
    assert align_tags(["one", "two"], [("three", "NUM")]) == [None, None]
    assert align_tags(["one", "two"], []) == [None, None]
    assert align_tags([], [("three", "NUM")]) == []


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abcd"), max_size=8))
def test_one_tag_a_word(words: list[str], tokens: list[str]) -> None:
    tags = align_tags(words, [(token, token.upper()) for token in tokens])
    assert len(tags) == len(words)
    if len(words) != len(tokens):
        matched = [t for w, t in zip(words, tags, strict=True) if t == w.upper()]
        assert len(matched) <= len(tokens)


def test_lexicon_says_so_once(fresh_tagger: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("nltk")

    def missing(*_: object, **__: object) -> None:
        raise LookupError("Resource averaged_perceptron_tagger_eng not found")

    fake.pos_tag = missing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nltk", fake)
    with pytest.warns(UserWarning, match="small built-in lexicon") as caught:
        assert caption_tags(["person", "walks"], None) == [None, "VERB"]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tag_words(["slowly"]) == ["ADV"]
        assert tagger_name() == "lexicon"


def test_nltk_is_preferred(fresh_tagger: None, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("nltk")
    fake.pos_tag = lambda words, tagset: [(w, f"{tagset}:{w}") for w in words]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nltk", fake)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tagger_name() == "nltk"
        assert tag_words(["walk", "on"]) == ["universal:walk", "universal:on"]


def test_tags_of_the_file_are_used_where_there_are_some(fresh_tagger: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "_tagger", lambda: pytest.fail("asked for a tagger"))
    assert caption_tags(["walks"], (("walk", "NOUN"),)) == ["NOUN"]
