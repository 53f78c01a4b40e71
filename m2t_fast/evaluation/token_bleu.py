"""BLEU of token ids: the references' n-grams are counted once, and a score is a few look-ups in sorted arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.evaluation.metrics import MAX_ORDER, bleu

Integers = npt.NDArray[np.int64]


class TokenBleu:
    """BLEU of captions in token ids against references in words: what ``metrics.score`` gives of the decoded captions,
    to the bit.

    The n-grams of a motion's references are a tree: an n-gram is its first n-1 words, which have a number, and its last
    word, so that two integers tell it exactly, whatever the size of the vocabulary.

    Args:
        references: the reference captions of each motion, words as written; one that is not in the vocabulary is found
            in no prediction, not even as <unk>.
        vocabulary: of the predictions.

    Raises:
        ValueError: no motions, or one without references.
    """

    def __init__(self, references: Sequence[Sequence[str]], vocabulary: Vocabulary):
        if not references:
            raise ValueError("references: got an empty list, expected at least one motion")
        for number, captions in enumerate(references):
            if not captions:
                raise ValueError(f"references[{number}]: got an empty list, expected at least one reference")
        # A word that holds spaces is several when captions are compared, and <pad> and <sos> are never said.
        said = [[] if token in (PAD, SOS) else word.split() for token, word in enumerate(vocabulary.words)]
        numbers: dict[str, int] = {}
        for word in (word for words in said for word in words):
            numbers.setdefault(word, len(numbers))
        self._said = np.array([numbers[word] for words in said for word in words], dtype=np.int64)
        self._said_count = np.array([len(words) for words in said], dtype=np.int64)
        self._said_start = np.cumsum(self._said_count) - self._said_count
        self._unseen = len(numbers)

        split = [caption.split() for captions in references for caption in captions]
        counts = np.array([len(captions) for captions in references], dtype=np.int64)
        self._first_reference = np.cumsum(counts) - counts
        self._lengths = np.array([len(words) for words in split], dtype=np.int64)
        self._motion = np.repeat(np.arange(len(references)), counts)
        words = np.array([numbers.get(word, self._unseen) for caption in split for word in caption], dtype=np.int64)
        self._count_references(words)

    def _count_references(self, words: Integers) -> None:
        """For n = 1, 2, ...: the sorted keys of the n-grams, and the largest count of each in one reference."""
        self._keys: list[Integers] = []
        self._most: list[Integers] = []
        reference = np.repeat(np.arange(len(self._lengths)), self._lengths)
        left = _left(self._lengths)
        node = self._motion[reference]
        for order in range(MAX_ORDER):
            starts = np.flatnonzero(left > order)
            keys, numbers = np.unique(self._key(node[starts], words[starts + order]), return_inverse=True)
            node = np.full_like(node, -1)
            node[starts] = numbers
            each, times = np.unique(numbers * len(self._lengths) + reference[starts], return_counts=True)
            most = np.zeros(len(keys), dtype=np.int64)
            np.maximum.at(most, each // len(self._lengths), times)
            self._keys.append(keys)
            self._most.append(most)

    def _key(self, node: Integers, word: Integers) -> Integers:
        return node * (self._unseen + 1) + word

    def counts(self, tokens: Integers, motions: Integers) -> Integers:
        """What BLEU counts in captions: matches of n = 1 to 4 words, n-grams, words, expected words (10,) int64.
        Counts of parts of a corpus add up.

        Args:
            tokens: (N, W) int64, each caption up to its <eos>; in the range of the vocabulary.
            motions: (N,) int64, whose caption each is.
        """
        row, place = np.nonzero(np.cumsum(tokens == EOS, axis=1) == 0)
        row, words = self._words_said(row, tokens[row, place])
        lengths = np.bincount(row, minlength=len(tokens)).astype(np.int64)
        left = _left(lengths)
        node = motions[row]
        matches, ngrams = [], []
        for order, (keys, most) in enumerate(zip(self._keys, self._most, strict=True)):
            ngrams.append(int((left > order).sum()))
            starts = np.flatnonzero((left > order) & (node >= 0))
            wanted = self._key(node[starts], words[starts + order])
            found = np.searchsorted(keys, wanted)
            there = np.zeros(len(wanted), dtype=bool)
            inside = found < len(keys)
            there[inside] = keys[found[inside]] == wanted[inside]
            node = np.full_like(node, -1)
            node[starts[there]] = found[there]
            matches.append(int(np.minimum(np.bincount(found[there], minlength=len(keys)), most).sum()))
        return np.array([*matches, *ngrams, lengths.sum(), self._closest(lengths, motions).sum()], dtype=np.int64)

    def _words_said(self, row: Integers, tokens: Integers) -> tuple[Integers, Integers]:
        """Rows and numbers of the words of tokens and the rows they stand in."""
        counts = self._said_count[tokens]
        places = np.arange(counts.sum()) + np.repeat(self._said_start[tokens] - np.cumsum(counts) + counts, counts)
        return np.repeat(row, counts), self._said[places]

    def _closest(self, lengths: Integers, motions: Integers) -> Integers:
        """For each motion, the length of the reference closest to that of its caption; of two the shorter."""
        asked = np.zeros(len(self._first_reference), dtype=np.int64)
        asked[motions] = lengths
        scale = self._lengths.max() + 1
        distances = np.abs(self._lengths - asked[self._motion]) * scale + self._lengths
        return (np.minimum.reduceat(distances, self._first_reference) % scale)[motions]


def bleu_4(counts: Sequence[int]) -> float:
    """BLEU-4 (0 to 100) of the counts of a corpus; see :meth:`TokenBleu.counts`."""
    return bleu(counts[:MAX_ORDER], counts[MAX_ORDER : 2 * MAX_ORDER], *counts[2 * MAX_ORDER :])["bleu_4"]


def _left(lengths: Integers) -> Integers:
    """For every word of captions of these lengths, how many words of its caption remain, itself included."""
    ends = np.cumsum(lengths)
    return np.repeat(ends, lengths) - np.arange(lengths.sum())
