"""Word-by-word targets of the adaptive gate and the spatial attention (table 5 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from m2t_fast.data.stems import stem
from m2t_fast.skeleton import PART_NAMES

UNSUPERVISED = -1

# Table 5. Every list but the connection words is compared by Porter stem, so inflected forms count.
TRAJECTORY = ("circle", "circuit", "clockwise", "anticlockwise", "forward", "backward")
ARMS = (
    *("open", "wave", "wipe", "throw", "punch", "pick", "boxing", "clean", "swipe", "catch"),
    *("handstand", "draw"),
)
LEGS = ("kick", "stomp", "lift", "kneel", "squat", "squad", "stand", "stumble", "rotate")
TORSO = ("bend", "bow")
SUBJECTS = ("a", "person", "human", "man")
# Compared as written: they do not inflect, and stems would take "hi" for "his" and "it" for "its".
CONNECTIONS = frozenset(("is", "the", "of", "his", "her", "its", "on", "their"))

# Past forms of the listed words that a stemmer cannot lead back to them.
_IRREGULAR = {
    **{"threw": "throw", "thrown": "throw", "caught": "catch", "drew": "draw", "drawn": "draw"},
    **{"knelt": "kneel", "stood": "stand", "bent": "bend"},
}
_PARTS_OF = {
    "trajectory": ("root",),
    "arms": ("left_arm", "right_arm"),
    "legs": ("left_leg", "right_leg"),
    "torso": ("torso",),
}
# The categories a word can fall in, and the targets of each.
_CATEGORIES = (*_PARTS_OF, "motion", "connection", "other")
_GATE = np.array([1, 1, 1, 1, 1, 0, UNSUPERVISED], dtype=np.int8)
_SPATIAL = np.full((len(_CATEGORIES), len(PART_NAMES)), UNSUPERVISED, dtype=np.int8)
for _row, _parts in enumerate(_PARTS_OF.values()):
    _SPATIAL[_row] = [name in _parts for name in PART_NAMES]


def base_form(word: str) -> str:
    """The verb of an irregular past form ("threw" gives "throw"); any other word as it is."""
    return _IRREGULAR.get(word, word)


@lru_cache(maxsize=1)
def _by_stem() -> dict[str, str]:
    lists = {"connection": SUBJECTS, "torso": TORSO, "legs": LEGS, "arms": ARMS, "trajectory": TRAJECTORY}
    return {stem(word): category for category, words in lists.items() for word in words}


@lru_cache(maxsize=1 << 16)
def category(word: str, tag: str | None) -> str:
    """The rule that decides a word: "trajectory", "arms", "legs", "torso", "motion", "connection" or "other".

    Words listed by name come first, whatever their tag: rule 3 is for any *other* verb or adverb, so "forward" (an
    adverb) is a trajectory word, "stand" (a verb) a leg word, and "is" tagged as a verb still a connection word. The
    one exception: "box" shares its stem with "boxing", and as a noun it is the thing that is lifted, not the sport.
    """
    if word in CONNECTIONS:
        return "connection"
    listed = _by_stem().get(stem(base_form(word)))
    if listed is not None and not (tag == "NOUN" and word in ("box", "boxes")):
        return listed
    return "motion" if tag in ("VERB", "ADV") else "other"


@lru_cache(maxsize=1 << 16)
def _row_of(word: str, tag: str | None) -> int:
    return _CATEGORIES.index(category(word, tag))


def targets(words: Sequence[str], tags: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """Supervision of a caption's n raw words with their Universal part-of-speech tags (None: unknown).

    Returns:
        gate (n,) int8: 1 motion word, 0 non-motion word, -1 unsupervised.
        spatial (n, P) int8: 1 and 0 per body part (order of ``PART_NAMES``), or a row of -1 where unsupervised.

    Raises:
        ValueError: ``tags`` and ``words`` differ in length.
    """
    if len(words) != len(tags):
        raise ValueError(f"tags: got {len(tags)}, expected one per word ({len(words)})")
    rows = np.fromiter(map(_row_of, words, tags), dtype=np.intp, count=len(words))
    return _GATE[rows], _SPATIAL[rows]
