"""Part-of-speech tags of a caption's words: aligned from the text file, or from a tagger where it has none."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from m2t_fast.data import lexicon
from m2t_fast.data.stems import stem
from m2t_fast.data.text import tokenise

Tags = list[str | None]


@lru_cache(maxsize=1 << 16)
def _words_of(token: str) -> tuple[str, ...]:
    return tuple(tokenise(token))


def processed_words(tagged: Sequence[tuple[str, str]]) -> list[str]:
    """The lower-case words of a caption's tagged tokens, punctuation left out: nouns and verbs are lemmas there."""
    return [word for token, _ in tagged for word in _words_of(token)]


def align_tags(words: Sequence[str], tagged: Sequence[tuple[str, str]]) -> Tags:
    """The tag of each raw word, from the tagged tokens of the text file, which are lemmatised and may lack some words.

    Tokens without a letter or digit (punctuation) are left out and tokens of several words ("counter-clockwise") are
    taken apart. Equal numbers are aligned by position; otherwise equal stems are matched, and what lies between two
    matches is aligned by position where its lengths agree (an irregular form and its lemma: "bent", "bend"). A word
    that finds no partner gets None.
    """
    tokens = [(word, tag.upper()) for token, tag in tagged for word in _words_of(token)]
    if len(tokens) == len(words):
        return [tag for _, tag in tokens]
    tags: Tags = [None] * len(words)
    matcher = SequenceMatcher(None, [stem(w) for w in words], [stem(w) for w, _ in tokens], autojunk=False)
    for operation, i1, i2, j1, j2 in matcher.get_opcodes():
        if operation == "equal" or (operation == "replace" and i2 - i1 == j2 - j1):
            tags[i1:i2] = [tag for _, tag in tokens[j1:j2]]
    return tags


@lru_cache(maxsize=1)
def _tagger() -> tuple[str, Callable[[Sequence[str]], Tags]]:
    """Which tagger can run here, decided once per process, with a warning if it is the lexicon."""
    try:
        import nltk

        def tag_with_nltk(words: Sequence[str]) -> Tags:
            return [tag for _, tag in nltk.pos_tag(list(words), tagset="universal")]

        tag_with_nltk(["walk"])
    except LookupError:
        warnings.warn(
            "captions without part-of-speech tags: NLTK's tagger data is not installed, so verbs and adverbs come from "
            "a small built-in lexicon (for better tags: python -m nltk.downloader averaged_perceptron_tagger_eng "
            "universal_tagset)",
            stacklevel=2,
        )
        return "lexicon", lexicon.tag
    return "nltk", tag_with_nltk


def tagger_name() -> str:
    """The tagger that this machine uses for captions without tags: "nltk" or "lexicon"."""
    return _tagger()[0]


def tag_words(words: Sequence[str]) -> Tags:
    """Universal part-of-speech tags of untagged words, by NLTK's tagger if its data is installed, else by the lexicon
    (which knows only VERB, ADV and None), whose first use gives one warning."""
    return _tagger()[1](words)


def caption_tags(words: Sequence[str], tagged: Sequence[tuple[str, str]] | None) -> Tags:
    """The tags of a caption's raw words: aligned from ``tagged``, or from the tagger where the file has none."""
    return align_tags(words, tagged) if tagged else tag_words(words)
