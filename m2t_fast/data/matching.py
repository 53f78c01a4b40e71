"""Matches the words of a caption to the actions that they name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from m2t_fast.data import lexicon
from m2t_fast.data.raw import Segment
from m2t_fast.data.stems import stem
from m2t_fast.data.supervision import base_form

RARE = 0.1
"""A stem that names an action in fewer of its captions than this share is left to the motions that have it."""


def word_stem(word: str) -> str:
    """The stem that names are compared by; irregular past forms are reduced to their verb ("threw" to "throw")."""
    return stem(base_form(word.lower()))


@dataclass(frozen=True)
class ActionNames:
    """The stems by which a data set's captions name each action: "walk" is called walk, step, stride or stroll."""

    stems: dict[str, frozenset[str]]

    @classmethod
    def of(cls, segments: Iterable[Sequence[Segment] | None]) -> ActionNames:
        """The names in the segments of motions, each without its rare ones.

        An action whose segments carry no words is called by the verbs in its own name ("walk-turn-left": walk, turn).
        """
        counts: dict[str, Counter[str]] = {}
        for segment in (s for motion in segments for s in motion or ()):
            counts.setdefault(segment.action, Counter()).update(word_stem(w) for w in segment.words if w is not None)
        return cls(
            {
                action: frozenset(name for name, count in found.items() if count >= RARE * found.total())
                if found
                else _verbs_in(action)
                for action, found in counts.items()
            }
        )

    def named_by(self, word: str, segment: Segment) -> bool:
        """Whether a word can stand for this segment: as its action is called anywhere, or in its own captions."""
        own = word_stem(word)
        return own in self.stems.get(segment.action, ()) or any(w and word_stem(w) == own for w in segment.words)

    def stems_of(self, segment: Segment) -> frozenset[str]:
        """The stems of all words that :meth:`named_by` takes for this segment."""
        return self.stems.get(segment.action, frozenset()) | {word_stem(word) for word in segment.words if word}


def _verbs_in(action: str) -> frozenset[str]:
    words = action.lower().replace("-", " ").replace("_", " ").split()
    verbs = [word for word, tag in zip(words, lexicon.tag(words), strict=True) if tag == "VERB"]
    return frozenset(word_stem(word) for word in verbs or words)


def match_words(words: Sequence[str], segments: Sequence[Segment], names: ActionNames) -> list[int | None]:
    """For each word of a caption the number of the segment that it names, None where it names none.

    Captions mostly name actions in the order in which they happen, so of several segments that a word can name it
    takes the first that lies after the one named before and has no word yet, else the first without a word, else
    (the action is named once more) the last one that has been named. Adverbs name nothing ("backs up", but not "up and
    back").
    """
    found: list[int | None] = [None] * len(words)
    taken: list[int] = []
    for place, (word, tag) in enumerate(zip(words, lexicon.tag(words), strict=True)):
        if tag == "ADV":
            continue
        possible = [number for number, segment in enumerate(segments) if names.named_by(word, segment)]
        if not possible:
            continue
        free = [number for number in possible if number not in taken]
        behind = [number for number in free if taken and number > taken[-1]]
        choice = (behind or free or [number for number in taken if number in possible][-1:])[0]
        found[place] = choice
        taken.append(choice)
    return found


def annotated_words(words: Sequence[str], segments: Sequence[Segment], caption: int) -> list[int | None]:
    """As :func:`match_words` for a reference caption, by the words that the data set itself says name its segments.

    Of several words of one stem a segment gets the first that no segment has yet.
    """
    found: list[int | None] = [None] * len(words)
    stems = [word_stem(word) for word in words]
    for number, segment in enumerate(segments):
        name = segment.words[caption] if caption < len(segment.words) else None
        place = next((p for p, s in enumerate(stems) if name and s == word_stem(name) and found[p] is None), None)
        if place is not None:
            found[place] = number
    return found
