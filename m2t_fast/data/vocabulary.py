"""The word list that maps captions to token ids and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from m2t_fast.config import EOS, PAD, SOS, UNK
from m2t_fast.data.text import tokenise
from m2t_fast.errors import UserError
from m2t_fast.files import write_text
from m2t_fast.reading import Malformed, NotText, Unreadable, read_json, shown

SPECIALS: tuple[str, ...] = ("<pad>", "<sos>", "<eos>", "<unk>")
_FORMAT = "m2t_fast vocabulary"


class Vocabulary:
    """Token ids: <pad>=0 <sos>=1 <eos>=2 <unk>=3, then the words.

    Args:
        words: the words without the specials, in id order (the first gets id 4); a list that begins with the four
            specials (the ``words`` of another vocabulary) is taken as it is.

    Raises:
        ValueError: an empty, repeated or special word.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        if isinstance(words, str):
            raise TypeError("words: got a str, expected an iterable of words")
        words = tuple(words)
        self._words = words if words[: len(SPECIALS)] == SPECIALS else SPECIALS + words
        self._index: dict[str, int] = {}
        for position, word in enumerate(self._words):
            if not isinstance(word, str) or not word:
                raise ValueError(f"words: got {shown(word)} at id {position}, expected a non-empty str")
            if word in self._index:
                kind = "special" if word in SPECIALS else "repeated"
                raise ValueError(f"words: {kind} word {word!r} at id {position}, expected each word once")
            self._index[word] = position

    @classmethod
    def build(cls, captions: Iterable[Sequence[str]], min_count: int = 3) -> Vocabulary:
        """The words seen at least ``min_count`` times in tokenised captions, in sorted order.

        Raises:
            ValueError: ``min_count`` below 1.
        """
        if min_count < 1:
            raise ValueError(f"min_count: got {min_count}, expected at least 1")
        counts: Counter[str] = Counter()
        for caption in captions:
            if isinstance(caption, str):
                raise TypeError("captions: got a str, expected lists of words (see text.tokenise)")
            counts.update(caption)
        return cls(sorted(word for word, count in counts.items() if count >= min_count))

    def grown(self, captions: Iterable[Sequence[str]], min_count: int = 3) -> Vocabulary:
        """These words with the same ids, followed by the new words of :meth:`build`."""
        new = Vocabulary.build(captions, min_count)
        return Vocabulary([*self._words, *(word for word in new.words if word not in self)])

    @property
    def words(self) -> tuple[str, ...]:
        """Every word, specials included; position is id."""
        return self._words

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: object) -> bool:
        return word in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._words == other._words

    def __hash__(self) -> int:
        return hash(self._words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"

    def index(self, word: str) -> int:
        """The id of a word; of <unk> for a word that is not in the vocabulary."""
        return self._index.get(word, UNK)

    def encode(self, tokens: str | Sequence[str]) -> list[int]:
        """Token ids of a caption (a string is tokenised first) between <sos> and <eos>.

        A caption's own words never map to <pad>, <sos> or <eos>: a word spelt like one of them becomes <unk>.
        """
        words = tokenise(tokens) if isinstance(tokens, str) else tokens
        get = self._index.get
        inner = [get(word, UNK) for word in words]
        return [SOS, *(UNK if token < UNK else token for token in inner), EOS]

    def decode(self, ids: Sequence[int] | torch.Tensor) -> str:
        """The words of ``ids`` (a list or a 1-D integer tensor) joined by spaces, up to <eos>, without <pad> and <sos>.

        Raises:
            ValueError: an id out of range (even after <eos>), or a tensor that is not 1-D.
            TypeError: ids that are not integers.
        """
        if isinstance(ids, torch.Tensor):
            if ids.dim() != 1:
                raise ValueError(f"ids: got shape {tuple(ids.shape)}, expected (length,)")
            if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
                raise TypeError(f"ids: got dtype {ids.dtype}, expected integers")
            ids = ids.tolist()
        words: list[str] = []
        ended = False
        for token in ids:
            if not 0 <= token < len(self._words):
                raise ValueError(f"ids: got {token}, expected 0 to {len(self) - 1} (a vocabulary of {len(self)} words)")
            ended = ended or token == EOS
            if not ended and token not in (PAD, SOS):
                words.append(self._words[token])
        return " ".join(words)

    def save(self, path: str | Path) -> None:
        """Writes the vocabulary as JSON; an existing file is replaced as a whole.

        Raises:
            UserError: the file cannot be written.
        """
        content = {"format": _FORMAT, "version": 1, "words": list(self._words)}
        write_text(path, json.dumps(content, ensure_ascii=False, indent=0) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Reads what ``save`` wrote.

        Raises:
            UserError: the file is missing, unreadable, truncated or no vocabulary, its first words are not the
                specials, or a word is repeated.
        """
        try:
            content = read_json(path)
        except NotText as error:
            raise UserError(f"{path}: not a vocabulary: truncated or not JSON ({error.reason})") from None
        except Unreadable as error:
            raise UserError(f"{path}: cannot read the vocabulary: {error.reason}") from None
        except Malformed as error:
            raise UserError(f"{path}: not a vocabulary: truncated or {error}") from None
        words = content.get("words") if isinstance(content, dict) else None
        if not isinstance(content, dict) or content.get("format") != _FORMAT or not isinstance(words, list):
            raise UserError(f'{path}: not a vocabulary: expected JSON with "format": "{_FORMAT}" and a list "words"')
        if content.get("version") != 1:
            raise UserError(f"{path}: vocabulary version {shown(content.get('version'))}, expected 1")
        if tuple(words[: len(SPECIALS)]) != SPECIALS:
            raise UserError(f"{path}: the first words are {shown(words[: len(SPECIALS)])}, expected {list(SPECIALS)}")
        try:
            return cls(words)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
