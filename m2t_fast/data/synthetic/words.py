"""The words of the captions: part of speech and lemma of each, and the forms of the verbs."""

from __future__ import annotations

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
_TAG_OF = {word: tag for tag, words in _WORDS.items() for word in words.split()}


def _conjugate(verb: str, form: str) -> str:
    if form == "ing":
        return _ING.get(verb, f"{verb}ing")
    return _THIRD.get(verb, f"{verb}s")


@lru_cache(maxsize=1024)
def token(word: str, form: str) -> tuple[str, str, str]:
    """(text, lemma, part of speech) of a template's word.

    ``*verb`` becomes the "third" person ("walks") or the "ing" form ("walking") as ``form`` says; ``word~TAG`` has
    that tag in place of its usual one; a comma is (",", "", "").

    Raises:
        KeyError: a word of no known part of speech.
    """
    if word == ",":
        return ",", "", ""
    if word.startswith("*"):
        return _conjugate(word[1:], form), word[1:], "VERB"
    text, _, tag = word.partition("~")
    lemma = _PLURALS.get(text, text)
    return text, lemma, tag or _TAG_OF[lemma]
