"""The times of caption words that name a segment whose time is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2t_fast.data.matching import ActionNames, annotated_words, match_words
from m2t_fast.data.raw import Segment

UNTIMED = -1.0
"""Start and end of a word that has no time."""


def temporal_targets(
    captions: Sequence[Sequence[str]], segments: Sequence[Segment] | None, names: ActionNames
) -> list[np.ndarray]:
    """For each caption of a motion (n, 2) float32: start and end of the segment that each word names, else UNTIMED.

    Times are in kept frames; frame k covers k - 0.5 to k + 0.5. Where segments carry the words that name them, these
    count alone, else words are matched by :func:`~m2t_fast.data.matching.match_words`.

    Args:
        captions: the raw words of each.
        segments: of the motion, in kept frames; None: unknown.
        names: what the data set's captions call each action.
    """
    found = []
    for number, words in enumerate(captions):
        times = np.full((len(words), 2), UNTIMED, np.float32)
        if segments:
            annotated = all(segment.words for segment in segments)
            named = annotated_words(words, segments, number) if annotated else match_words(words, segments, names)
            for place, segment in enumerate(named):
                if segment is not None:
                    times[place] = segments[segment].start - 0.5, segments[segment].end - 0.5
        found.append(times)
    return found
