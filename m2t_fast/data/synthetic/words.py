"""The words of the captions: part of speech and lemma of each, and the forms of the verbs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

# Universal parts of speech, as HumanML3D's text files carry them. A template overrides one with "word~TAG".
_WORDS: dict[str, str] = {
    "DET": "a an the both",
    "PRON": "someone something his their that",
    "NOUN": "person man human figure hand arm fist foot leg knee air place ground line balance object mouth circle "
    "step time",
    "ADJ": "left right several half",
    "ADV": "straight forward backward backwards back ahead around sideways up down wide together still then finally "
    "twice clockwise counterclockwise anticlockwise quickly slowly fast rapidly",
    "ADP": "with in to from on",
    "SCONJ": "before after",
    "CCONJ": "and",
    "AUX": "is",
    "NUM": "two",
}
_PLURALS: dict[str, str] = {
    **{"hands": "hand", "arms": "arm", "fists": "fist", "legs": "leg", "knees": "knee"},
    **{"steps": "step", "times": "time"},
}
# Verbs whose -ing form is not the base with "ing", then those whose third person is not the base with "s".
_ING: dict[str, str] = {
    **{"run": "running", "jog": "jogging", "squat": "squatting", "step": "stepping", "hop": "hopping"},
    **{"clap": "clapping", "circle": "circling", "stumble": "stumbling", "wave": "waving", "raise": "raising"},
    **{"wipe": "wiping", "make": "making", "take": "taking", "move": "moving", "lose": "losing"},
    **{"sidestep": "sidestepping", "do": "doing"},
}
_THIRD: dict[str, str] = {
    **{"punch": "punches", "march": "marches", "box": "boxes", "catch": "catches"},
    "do": "does",
}


class Lexicon:
    """The words of a grammar.

    Args:
        words: Universal part of speech -> its words in base form, separated by spaces.
        plurals: plural -> noun.
        ing, third: verbs whose form is not the base with "ing" or "s" -> the form.
    """

    def __init__(
        self, words: Mapping[str, str], plurals: Mapping[str, str], ing: Mapping[str, str], third: Mapping[str, str]
    ) -> None:
        self.words, self.plurals, self.ing, self.third = dict(words), dict(plurals), dict(ing), dict(third)
        self._tag_of = {word: tag for tag, listed in self.words.items() for word in listed.split()}
        self.token = lru_cache(maxsize=1024)(self._token)

    def extended(
        self, words: Mapping[str, str], plurals: Mapping[str, str], ing: Mapping[str, str], third: Mapping[str, str]
    ) -> Lexicon:
        """A lexicon with more words."""
        joined = {tag: f"{self.words.get(tag, '')} {words.get(tag, '')}" for tag in {**self.words, **words}}
        return Lexicon(joined, self.plurals | dict(plurals), self.ing | dict(ing), self.third | dict(third))

    def _token(self, word: str, form: str) -> tuple[str, str, str]:
        """(text, lemma, part of speech) of a template's word.

        ``*verb`` becomes the "third" person ("walks"), the "ing" form ("walking") or the "base" form as ``form`` says;
        ``word~TAG`` has that tag in place of its usual one; a comma is (",", "", "").

        Raises:
            KeyError: a word of no known part of speech.
        """
        if word == ",":
            return ",", "", ""
        if word.startswith("*"):
            return self._conjugate(word[1:], form), word[1:], "VERB"
        text, _, tag = word.partition("~")
        lemma = self.plurals.get(text, text)
        return text, lemma, tag or self._tag_of[lemma]

    def _conjugate(self, verb: str, form: str) -> str:
        if form == "base":
            return verb
        if form == "ing":
            return self.ing.get(verb, f"{verb}ing")
        return self.third.get(verb, f"{verb}s")


LEXICON = Lexicon(_WORDS, _PLURALS, _ING, _THIRD)
"""The words of the synthetic captions."""

token = LEXICON.token
"""See :meth:`Lexicon.token`."""
