"""Captions in the lemmatised words of a data set, learnt from its captions, which hold both forms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from m2t_fast.data.folder import split_captions
from m2t_fast.data.stems import stem
from m2t_fast.data.tagging import processed_words
from m2t_fast.data.text import tokenise
from m2t_fast.errors import UserError

_Form = tuple[str, ...]


class Lemmas:
    """How a data set's text files write words that captions hold as written: "walks" as "walk", "person's" as "person".

    Each word becomes what it became most often after the same word ("turning" after "is"), else what it became most
    often anywhere; a word that no caption holds stays. Some words become one ("counter-clockwise", read as two, is
    "counterclockwise"), some none ("180": the files keep letters only), some several ("cannot": "can not").

    Args:
        captions: pairs of a caption's words as written and its processed words.
    """

    def __init__(self, captions: Iterable[tuple[Sequence[str], Sequence[str]]]) -> None:
        anywhere: dict[str, Counter[_Form]] = defaultdict(Counter)
        behind: dict[tuple[str, str], Counter[_Form]] = defaultdict(Counter)
        joined: Counter[_Form] = Counter()
        pairs: Counter[_Form] = Counter()
        for words, processed in captions:
            pairs.update(zip(words, words[1:], strict=False))
            for start, end, form in _align(words, processed):
                if end - start == 1:
                    anywhere[words[start]][form] += 1
                    behind[words[start - 1] if start else "", words[start]][form] += 1
                else:
                    joined[tuple(words[start:end])] += 1
        self._anywhere = {word: forms.most_common(1)[0][0] for word, forms in anywhere.items()}
        self._behind = {pair: forms.most_common(1)[0][0] for pair, forms in behind.items()}
        # With a hyphen or without, a compound has the same words here: how most captions write it decides.
        self._joined = {
            words
            for words, count in joined.items()
            if 2 * count > min(pairs[pair] for pair in zip(words, words[1:], strict=False))
        }
        self._longest = max(map(len, self._joined), default=1)

    def apply(self, words: Sequence[str]) -> list[str]:
        """The processed words of a caption's words as written."""
        result: list[str] = []
        place = 0
        while place < len(words):
            lengths = range(self._longest, 1, -1)
            length = next((n for n in lengths if tuple(words[place : place + n]) in self._joined), 1)
            word = words[place]
            if length > 1:
                result.append("".join(words[place : place + length]))
            else:
                pair = (words[place - 1] if place else "", word)
                result.extend(self._behind.get(pair, self._anywhere.get(word, (word,))))
            place += length
        return result


def learn_lemmas(source: str | Path, joints: int = 22) -> Lemmas:
    """Learn from the training captions of a data folder, or of ``"synthetic"`` with this number of joints.

    Raises:
        UserError: a mistake in the folder, or none of its training captions has tagged tokens.
    """
    if str(source) == "synthetic":
        from m2t_fast.data import synthetic  # only this source needs the generator

        captions = [
            caption for motion in synthetic.generate(joints=joints).splits["train"] for caption in motion.captions
        ]
    else:
        captions = split_captions(source, "train")
    pairs = [(tokenise(caption.text), processed_words(caption.tags)) for caption in captions if caption.tags]
    if not pairs:
        raise UserError(
            f"{source}: no training caption has tagged tokens (caption#token/POS ...), so none is processed"
        )
    return Lemmas(pairs)


def _align(words: Sequence[str], processed: Sequence[str]) -> Iterable[tuple[int, int, _Form]]:
    """(start, end, form): the words from start to end became the processed words of form."""
    if len(words) == len(processed):
        yield from ((place, place + 1, (form,)) for place, form in enumerate(processed))
        return
    matcher = SequenceMatcher(None, [stem(w) for w in words], [stem(w) for w in processed], autojunk=False)
    for _, i1, i2, j1, j2 in matcher.get_opcodes():
        if i2 - i1 == j2 - j1:
            yield from ((i1 + k, i1 + k + 1, (processed[j1 + k],)) for k in range(i2 - i1))
        elif i2 - i1 == 1 or j1 == j2:
            yield from ((place, place + 1, tuple(processed[j1:j2])) for place in range(i1, i2))
        elif j2 - j1 == 1 and "".join(words[i1:i2]) == processed[j1]:
            yield i1, i2, (processed[j1],)
