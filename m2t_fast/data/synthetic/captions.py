"""Captions of planned actions from a paraphrasing grammar, with a part of speech for every word."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from m2t_fast.data.raw import Caption
from m2t_fast.data.synthetic.track import Step
from m2t_fast.data.synthetic.words import token

MAX_WORDS = 20
"""Longest caption, the limit of the HumanML3D filter."""

# What a step is called: "*verb" takes the form the sentence needs, {side} is the acting side, {the} is "the" or a
# possessive, "word~TAG" overrides the word's usual part of speech. Keys: "action variant", else "action"; steps of a
# pace may say so by another verb ("run slow") in place of an adverb.
_PHRASES: dict[str, tuple[str, ...]] = {
    "walk forward": (
        "*walk forward", "*walk straight ahead", "*walk forward in a straight~ADJ line", "*take several steps forward"
    ),
    "walk backward": ("*walk backward", "*walk backwards", "*take several steps backward", "*step backward"),
    "run": ("*run forward", "*run straight ahead", "*run ahead"),
    "run slow": ("*jog forward", "*jog ahead"),
    "run fast": ("*sprint forward", "*sprint ahead"),
    "circle clockwise": (
        "*walk in a clockwise~ADJ circle", "*walk clockwise in a circle", "*circle clockwise"
    ),
    "circle counterclockwise": (
        "*walk in a counterclockwise~ADJ circle", "*walk anticlockwise in a circle", "*circle counterclockwise",
        "*walk counterclockwise in a circle",
    ),
    "turn": ("*turn to the {side}~NOUN", "*turn {side}~ADV", "*make a {side} turn~NOUN"),
    "turn around": ("*turn around", "*make a half turn~NOUN"),
    "sidestep": (
        "*step sideways to the {side}~NOUN", "*sidestep to the {side}~NOUN", "*move sideways to the {side}~NOUN"
    ),
    "stumble forward": ("*stumble forward", "*lose {the} balance and *stumble forward"),
    "stumble backward": ("*stumble backward", "*stumble backwards", "*lose {the} balance and *stumble backward"),
    "jump up": ("*jump up", "*jump in the air", "*jump straight up"),
    "jump forward": ("*jump forward", "*leap forward"),
    "jump repeated": ("*jump up and down", "*jump up and down in place", "*jump several times"),
    "hop": ("*hop on the {side} leg", "*hop on {the} {side} foot", "*jump on {the} {side} leg"),
    "march": ("*march in place", "*walk in place"),
    "stand": ("*stand still", "*stand in place"),
    "wave": ("*wave with {the} {side} hand", "*wave {the} {side} hand", "*wave {the} {side} arm"),
    "wave both": ("*wave both hands", "*wave with both hands", "*wave both arms"),
    "punch": ("*punch with {the} {side} hand", "*punch with {the} {side} fist", "*punch with {the} {side} arm"),
    "box": ("*box with both hands", "*box with both fists"),
    "throw": (
        "*throw something with {the} {side} hand", "*throw an object with {the} {side} hand",
        "*throw something with {the} {side} arm",
    ),
    "raise": ("*raise {the} {side} arm", "*raise {the} {side} hand", "*raise {the} {side} hand in the air"),
    "raise both": ("*raise both arms", "*raise both hands", "*raise both hands in the air"),
    "clap": ("*clap {the} hands", "*clap both hands together"),
    "wipe": ("*wipe with {the} {side} hand", "*wipe something with {the} {side} hand", "*clean with {the} {side} hand"),
    "pick": (
        "*pick something up with {the} {side} hand", "*pick up something with {the} {side} hand",
        "*bend down and *pick something up with {the} {side} hand",
        "*pick something from the ground with {the} {side} hand",
    ),
    "kick": ("*kick with {the} {side} leg", "*kick with {the} {side} foot", "*kick {the} {side} leg"),
    "stomp": ("*stomp with {the} {side} foot", "*stomp {the} {side} foot", "*stomp {the} {side} foot on the ground"),
    "squat": ("*squat", "*squat down", "*do a squat~NOUN"),
    "squat twice": ("*squat", "*squat down"),
    "kneel": ("*kneel on {the} {side} knee", "*kneel down on {the} {side} knee"),
    "lift": ("*lift {the} {side} leg", "*lift {the} {side} leg up", "*lift {the} {side} knee"),
    "bow": ("*bow", "*bow down", "*take a bow~NOUN"),
    "bow twice": ("*bow", "*bow down"),
    "bend": ("*bend to the {side}~NOUN", "*lean to the {side}~NOUN", "*bend sideways to the {side}~NOUN"),
    "open": ("*open both arms", "*open {the} arms wide", "*open both arms wide"),
    "drink": (
        "*drink with {the} {side} hand", "*bring {the} {side} hand to the mouth",
        "*drink something with {the} {side} hand",
    ),
    "catch": ("*catch something with both hands", "*catch an object with both hands"),
}  # fmt: skip

_SUBJECTS = ("a person", "a man", "the person", "the man", "someone", "a human", "a figure")
_SUBJECT_WEIGHTS = (11, 4, 3, 1, 1, 1, 1)
_ADVERBS_BEFORE = {"slow": ("slowly",), "fast": ("quickly", "rapidly")}
_ADVERBS_AFTER = {"slow": ("slowly",), "fast": ("quickly", "fast")}
_JOINERS = ("and then", "then", ", then", "and", ", after that the {noun}")
_LAST_JOINERS = ("and then", "and finally", "then")  # before the third action
_ADVERB_CHANCE = 0.9
_BRIEF_ADVERB_CHANCE = 0.25
_ADVERB_FIRST_CHANCE = 0.2
_USUAL_CHANCE = 0.5
_POSSESSIVE_CHANCE = 0.7
_PATIENCE = 8  # captions that may turn out too long, or the same as another, before they are written briefly
_PACE_VERB_CHANCE = 0.3
_PROGRESSIVE_CHANCE = 0.25
_AFTER_CHANCE = 0.12
_BEFORE_CHANCE = 0.18
_CAPITAL_CHANCE = 0.1
_STOP_CHANCE = 0.4


_LIGHT_VERBS = ("take", "make", "do")


def _naming_word(phrase: str) -> str:
    """The lemma that names the action in a template: its last verb, or the noun of "take a bow" and the like."""
    words = phrase.format(side="left", the="the").split()
    last = max(place for place, word in enumerate(words) if word.startswith("*"))
    if words[last][1:] not in _LIGHT_VERBS:
        return words[last][1:]
    nouns = (lemma for _, lemma, tag in (token(word, "third") for word in words[last + 1 :]) if tag == "NOUN")
    return next(nouns)


_NAMES: dict[str, set[str]] = {}
for _key, _options in _PHRASES.items():
    _NAMES.setdefault(_key.split()[0], set()).update(_naming_word(phrase) for phrase in _options)


def naming_words(caption: Caption, steps: Sequence[Step]) -> tuple[str, ...]:
    """For each step the lemma in a caption of these steps that names it: "turn" in "makes a left turn".

    Captions tell the steps in order, so a step's word is the first of its action's words behind the last step's.
    """
    lemmas = iter(lemma for lemma, _ in caption.tags or ())
    return tuple(next(lemma for lemma in lemmas if lemma in _NAMES[step.action]) for step in steps)


def _usual(options: tuple[str, ...], dice: random.Random) -> str:
    """One of several phrasings, most often the first, which is what most people say."""
    return options[0] if dice.random() < _USUAL_CHANCE else dice.choice(options)


def _phrase(step: Step, possessive: str, brief: bool, dice: random.Random) -> list[str]:
    """The predicate of a step as template words, verbs still marked with "*"."""
    adverb = step.speed and dice.random() < (_BRIEF_ADVERB_CHANCE if brief else _ADVERB_CHANCE)
    phrases = _PHRASES.get(f"{step.action} {step.variant}") or _PHRASES[step.action]
    if step.times == 2:
        phrases = _PHRASES.get(f"{step.action} twice", phrases)
    if adverb and f"{step.action} {step.speed}" in _PHRASES and dice.random() < _PACE_VERB_CHANCE:
        adverb, phrases = False, _PHRASES[f"{step.action} {step.speed}"]
    the = "" if brief else possessive if dice.random() < _POSSESSIVE_CHANCE else "the"
    words = _usual(phrases, dice).format(side=step.variant, the=the).split()
    before = adverb and dice.random() < _ADVERB_FIRST_CHANCE
    if step.times == 2:
        words += _usual(("twice", "two times"), dice).split()
    if before:
        words.insert(0, _usual(_ADVERBS_BEFORE[step.speed], dice))
    elif adverb:
        words.append(_usual(_ADVERBS_AFTER[step.speed], dice))
    return words


def _sentence(steps: list[Step], brief: bool, dice: random.Random) -> list[tuple[str, str, str]]:
    """The (text, lemma, part of speech) of every word of one caption, actions in the order of the steps.

    ``brief`` writes like an annotator in haste: "punches with left hand", and seldom an adverb.
    """
    subject = dice.choices(_SUBJECTS, _SUBJECT_WEIGHTS)[0].split()
    possessive = "his" if subject[-1] == "man" else "their"
    phrases = [_phrase(step, possessive, brief, dice) for step in steps]
    # One entry per action: the words that lead to it, its own words, and the form its verbs take.
    forms = ["third"] * len(steps)
    noun = "person" if subject == ["someone"] else subject[-1]
    leads = [subject, *(_usual(_JOINERS, dice).format(noun=noun).split() for _ in steps[1:])]
    if len(steps) > 2:
        leads[-1] = _usual(_LAST_JOINERS, dice).split()
    draw = dice.random()
    if len(steps) == 1 and draw < _PROGRESSIVE_CHANCE:
        leads[0], forms[0] = [*subject, "is"], "ing"
    elif len(steps) > 1 and draw < _AFTER_CHANCE:
        leads[:2], forms[0] = [["after"], [",", *subject]], "ing"
    elif len(steps) > 1 and draw < _AFTER_CHANCE + _BEFORE_CHANCE:
        leads[-1], forms[-1] = ["before"], "ing"
    words: list[tuple[str, str, str]] = []
    for lead, phrase, form in zip(leads, phrases, forms, strict=True):
        words += [token(word, form) for word in (*lead, *phrase)]
    return words


def _write(words: list[tuple[str, str, str]], dice: random.Random) -> Caption:
    """The caption as annotators type it: some begin with a capital, some end with a full stop."""
    text = " ".join(text for text, _, _ in words).replace(" ,", ",")
    if dice.random() < _CAPITAL_CHANCE:
        text = text[0].upper() + text[1:]
    if dice.random() < _STOP_CHANCE:
        text += "."
    return Caption(text, tuple((lemma, tag) for _, lemma, tag in words if tag))


def captions_of(steps: list[Step], dice: random.Random) -> list[Caption]:
    """Three or four different captions of the steps, each of at most ``MAX_WORDS`` words, with tags word by word.

    Tags are lemma and Universal part of speech, punctuation left out, as HumanML3D's text files have them. Every
    caption names every action with its side or direction; most also say whether it is slow or fast.
    """
    count = dice.choice((3, 4))
    found: dict[tuple[str, ...], Caption] = {}
    for attempt in itertools.count():
        if len(found) == count:
            break
        words = _sentence(steps, attempt >= _PATIENCE, dice)
        key = tuple(text for text, _, tag in words if tag)
        if len(key) <= MAX_WORDS and key not in found:
            found[key] = _write(words, dice)
    return list(found.values())
