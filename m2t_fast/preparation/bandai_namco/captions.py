"""Captions of clips: two to four each, with a part of speech for every word and the word that names each action."""

from __future__ import annotations

import random
from collections.abc import Sequence

from m2t_fast.data.raw import Caption
from m2t_fast.preparation.bandai_namco.clips import Clip
from m2t_fast.preparation.bandai_namco.contents import Action
from m2t_fast.preparation.bandai_namco.phrases import STYLES, WORDS, paces, templates

MAX_WORDS = 32
"""Longest caption."""

_SUBJECTS: dict[str, int] = {
    **{"a person": 40, "a man": 16, "someone": 12, "the person": 10, "the man": 8},
    **{"a figure": 5, "this person": 5, "a human": 4},
}
_COUNTS, _COUNT_WEIGHTS = (2, 3, 4), (2, 5, 3)
_STYLE_CHANCE = {"first": 1.0, "single": 0.6, "several": 0.33}  # that a clause tells the style
_PACE_CHANCE = 0.6
_STOP_CHANCE = 0.3
_PATIENCE = 60  # tries for captions that differ

_Token = tuple[str, str, str]


def captions_of(clip: Clip, dice: random.Random) -> tuple[list[Caption], list[tuple[str | None, ...]]]:
    """Different captions of a clip, and for each of its actions the lemma in each caption that names it (None: the
    caption does not mention it).

    The first caption of a single action tells its style. Tags are the lemmas of nouns and verbs, all other words as
    they are, with Universal parts of speech, as in HumanML3D's text files.
    """
    count = dice.choices(_COUNTS, _COUNT_WEIGHTS)[0]
    captions: dict[str, Caption] = {}
    named: list[list[str | None]] = []
    for _ in range(_PATIENCE):
        tokens, names = _sentence(clip, dice, first=not captions)
        text = " ".join(text for text, _, _ in tokens).replace(" ,", ",")
        tags = tuple((lemma if tag in ("NOUN", "VERB") else text, tag) for text, lemma, tag in tokens if tag)
        if text not in captions and len(tags) <= MAX_WORDS:
            captions[text] = Caption(text + ("." if dice.random() < _STOP_CHANCE else ""), tags)
            named.append(names)
        if len(captions) == count:
            break
    return list(captions.values()), list(zip(*named, strict=True))


def _sentence(clip: Clip, dice: random.Random, first: bool) -> tuple[list[_Token], list[str | None]]:
    """The words of one caption, and the lemma that names each action."""
    subject = dice.choices(list(_SUBJECTS), list(_SUBJECTS.values()))[0].split()
    possessive = "his" if subject[-1] == "man" else "their"
    if any(action.style == "feminine" for action in clip.actions):
        subject, possessive = (["a", "person"], "their") if possessive == "his" else (subject, possessive)
    told = clip.actions
    if clip.kind == "turn" and len(told) > 2 and dice.random() < 0.65:
        told = told[:2]  # that the walk goes on after the turn is seldom worth a word
    rule = "several" if len(told) > 1 else "first" if first else "single"
    clauses = [_clause(action, rule, possessive, dice) for action in told]
    leads, forms = _frame(clip, len(told), subject, dice)
    tokens: list[_Token] = []
    names: list[str | None] = []
    for lead, clause, form in zip(leads, clauses, forms, strict=True):
        tokens += [WORDS.token(word, "third") for word in lead]
        words, name = _spell(clause, form)
        tokens += words
        names.append(name)
    return tokens, names + [None] * (len(clip.actions) - len(told))


def _frame(clip: Clip, count: int, subject: Sequence[str], dice: random.Random) -> tuple[list[list[str]], list[str]]:
    """The words before each clause, and the form its verbs take."""
    draw = dice.random()
    if count == 1:
        if draw < 0.14:
            return [[*subject, "is"]], ["ing"]
        if draw < 0.28 and clip.actions[0].measures.still:
            return [[*subject, "*stand", *dice.choice((["still"], ["in", "place"], [])), "and"]], ["third"]
        return [list(subject)], ["third"]
    leads = [
        list(subject),
        *([*dice.choice((("and", "then"), ("and", "then"), (",", "then"), ("and",)))] for _ in range(count - 1)),
    ]
    forms = ["third"] * count
    if draw < 0.12:
        leads[0], leads[1], forms[0] = ["after"], [",", *subject], "ing"
    elif draw < 0.24:
        leads[-1], forms[-1] = ["before"], "ing"
    elif draw < 0.34:
        leads[0] = [*subject, "first"]
    elif draw < 0.42:
        leads[0], forms[0] = [*subject, "is"], "ing"
    return leads, forms


def _clause(action: Action, rule: str, possessive: str, dice: random.Random) -> str:
    """What an action does, as a template, perhaps with its style or its pace."""
    weights, options = zip(*templates(action, dice), strict=True)
    clause = dice.choices(options, weights)[0]
    adverbs, phrases = STYLES[action.style]
    told = (adverbs or phrases) and dice.random() < _STYLE_CHANCE[rule]
    if told and adverbs and (not phrases or dice.random() < 0.6):
        adverb = dice.choice(adverbs)
        clause = f"{adverb} {clause}" if dice.random() < 0.45 else f"{clause} {adverb}"
    elif told:
        clause = f"{clause} {dice.choice(phrases)}"
    elif (words := paces(action)) and dice.random() < _PACE_CHANCE and " and " not in clause:
        word = dice.choice(words)
        clause = f"{word} {clause}" if word.endswith("ly") and dice.random() < 0.5 else f"{clause} {word}"
    return clause.replace("{the}", possessive)


def _spell(clause: str, form: str) -> tuple[list[_Token], str]:
    """The words of a template whose verbs take ``form``, and the lemma of the one that names the action."""
    tokens: list[_Token] = []
    name = ""
    for word in clause.split():
        marked, word = "!" in word, word.replace("!", "")
        own = "ing" if word.endswith("+") else "base" if tokens and tokens[-1][2] == "PART" else form
        tokens.append(WORDS.token(word.rstrip("+"), own))
        if marked:
            name = tokens[-1][1]
    return tokens, name
