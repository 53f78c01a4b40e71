"""A small built-in lexicon that tells motion verbs and adverbs apart from other words, for captions without tags."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from m2t_fast.data.stems import stem


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERBS = _words(
    """
    accelerate act adjust aim answer appear approach assume attack avoid balance beat begin bend bob bounce bow
    bowl box break bring brush bump call carry cartwheel catch change check cheer clap clean clear climb close
    come compensate complete continue cover crawl cross crouch cut dance dash descend describe dip dive do dodge
    drag draw dribble drink drive drop duck eat elevate emulate end enter evade examine exercise extend face
    fall feel fight finish flail flap flex flip float fly fold follow gain gallop gesticulate gesture get give
    go grab greet grip guide hang happen have hit hold hop hover hug hurry imitate inspect interact jab jerk jog
    juggle jump keep kick kneel knock lay lead lean leap lie lift limp listen look lose lower lunge make march
    mime mimic move nod open pack paddle pass perform pick pivot place play point pour practice practise prance
    prepare press proceed pull punch push put raise reach react receive recover regain relax release repeat
    resemble resist respond rest resume return ride rise rock roll rotate rub run salute say scratch search seem
    serve shadowbox shake shift shoot shout shove show shrug shuffle sidestep sink sit skate skip slap slash
    slide slip slow smack sneak spin spread sprint squad squat stagger stand start stay step stir stomp stoop
    stop strafe straighten stretch stride strike stroke stroll strum stumble support swat sway swerve swim swing
    swipe switch take tap throw tilt tip tiptoe toss touch trip trot try tuck tumble turn twirl twist use veer
    wait wake walk waltz wander warm wash wave weave whip wiggle wipe wobble yell zigzag
    """
)

_IRREGULAR_VERBS = _words(
    """
    ate began begun bent bound broke broken brought came caught did does done drank drawn drew drove drunk eaten
    fallen fell felt flew fought gave given goes gone got gotten had has held hung kept knelt laid lain leapt
    led lost made ran risen rode rose sang sat shaken shook shot shown slid spun stood struck swam swept swung
    taken threw thrown took went woke
    """
)

_ADVERBS = _words(
    """
    afterward afterwards again ahead almost already also always anticlockwise apart around aside away back
    backward backwards briskly clockwise counterclockwise diagonally down downstairs downward downwards fast
    first forth forward forwards hard high immediately instead inward inwards just leftward leftwards low maybe
    now often once out outward outwards perhaps quite rather rightward rightwards sidewards sideway sideways
    slightly so sometimes somewhat soon still straight then there together too twice up upright upstairs upward
    upwards very well
    """
)

# Words in -ly that are no adverbs.
_NO_ADVERBS = _words("belly bully butterfly early family fly friendly jelly lively reply rely silly supply ugly")

# What follows one of these is a thing, not an action: "a step", "his back", "two jumps".
_BEFORE_NOUNS = _words(
    "a an the his her its their my your our this that these those each every some any no few several both another "
    "one two three four five six seven eight nine ten couple of with"
)


@lru_cache(maxsize=1)
def _verb_stems() -> frozenset[str]:
    return frozenset(stem(word) for word in _VERBS)


def tag(words: Sequence[str]) -> list[str | None]:
    """The tag of each word of a caption: "VERB", "ADV" or None (something else).

    Verbs are looked up by Porter stem or irregular form; adverbs by form or by the ending -ly. A word behind a
    determiner, a possessive or a number is taken for a noun ("four steps", "his back") unless it ends in -ing.
    """
    tags: list[str | None] = []
    before = ""
    for word in words:
        noun = (before in _BEFORE_NOUNS or before.isdigit()) and not word.endswith("ing")
        found: str | None = None
        if not noun:
            if word in _IRREGULAR_VERBS or stem(word) in _verb_stems():
                found = "VERB"
            elif word in _ADVERBS:
                found = "ADV"
        if found is None and word.endswith("ly") and len(word) > 4 and word not in _NO_ADVERBS:
            found = "ADV"
        tags.append(found)
        before = word
    return tags
