"""Which words of a caption the pictures explain: those with a high gate that can say something about a motion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

MOTION_WORD = 0.5
"""Words with at least this gate are motion words."""

FUNCTION_WORDS: frozenset[str] = frozenset(
    word
    for words in (
        # articles, pronouns and possessives
        "a an the this that these those he she it they them him her hers his its their theirs himself herself itself",
        "themselves one who which what whose someone somebody something",
        # conjunctions, and the adverbs that only order a story
        "and or but nor as if while when where then than because so before after until once",
        # prepositions that say nothing about a direction
        "of in on at to with without by for from into onto",
        # auxiliaries
        "is are was were be been being am has have had do does did can could will would may might shall should must",
        "not also",
    )
    for word in words.split()
)
"""Words of the closed classes: their gate may be high, but they name no motion. Prepositions and adverbs of
direction ("up", "around", "backward") are not among them."""


def motion_words(words: Sequence[str], gate: ArrayLike, threshold: float = MOTION_WORD) -> list[int]:
    """Numbers of the words to explain, in the order of the caption: gate at least ``threshold``, not a function word.

    Where no word is left, the one with the highest gate that is not a function word (of function words alone, the one
    with the highest gate). Empty for no words.
    """
    gates = np.asarray(gate, dtype=np.float64)
    content = [number for number, word in enumerate(words) if word.lower() not in FUNCTION_WORDS]
    over = [number for number in content if gates[number] >= threshold]
    if over or not len(words):
        return over
    return [max(content or range(len(words)), key=lambda number: gates[number])]
