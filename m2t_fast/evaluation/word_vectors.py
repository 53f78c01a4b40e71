"""Word vectors and the parts of speech that the text-motion matching networks read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast.data.arrays import load_array
from m2t_fast.errors import UserError
from m2t_fast.motion.formats.unpickler import Unpickler, allowed_memory, check_memory
from m2t_fast.reading import open_regular

MAX_WORDS = 20
"""Longer captions are cut."""

TAGS: tuple[str, ...] = (
    *("VERB", "NOUN", "DET", "ADP", "NUM", "AUX", "PRON", "ADJ", "ADV"),
    *("Loc_VIP", "Body_VIP", "Obj_VIP", "Act_VIP", "Desc_VIP", "OTHER"),
)
"""What a word is, in the order of the networks' input: its part of speech, or one of five groups that matter."""

_GROUPS: dict[str, str] = {
    "Loc_VIP": "left right clockwise counterclockwise anticlockwise forward back backward up down straight curve",
    "Body_VIP": "arm chin foot feet face hand mouth leg waist eye knee shoulder thigh",
    "Obj_VIP": "stair dumbbell chair window floor car ball handrail baseball basketball",
    "Act_VIP": "walk run swing pick bring kick put squat throw hop dance jump turn stumble stop sit lift lower raise "
    "wash stand kneel stroll rub bend balance flap jog shuffle lean rotate spin spread climb",
    "Desc_VIP": "slowly carefully fast careful slow quickly happy angry sad happily angrily sadly",
}
_GROUP_OF = {word: group for group, words in _GROUPS.items() for word in words.split()}

NAME = "our_vab"
"""The files are NAME_data.npy, NAME_words.pkl and NAME_idx.pkl."""


class WordVectors:
    """Word vectors as the public ``glove`` folder holds them; a word without one has that of "unk".

    Args:
        folder: with ``our_vab_data.npy``, ``our_vab_words.pkl`` and ``our_vab_idx.pkl``.

    Raises:
        UserError: a file is missing, unreadable or holds something else.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is refused below
            self.vectors = load_array(folder / f"{NAME}_data.npy", "(words, size)").astype(np.float32)
        if self.vectors.ndim != 2 or not np.isfinite(self.vectors).all():
            shape = self.vectors.shape
            raise UserError(f"{folder / NAME}_data.npy: shape {shape}, expected (words, size) finite numbers")
        index = _load_plain(folder / f"{NAME}_idx.pkl")
        good = isinstance(index, dict) and all(
            isinstance(word, str) and isinstance(place, int) and 0 <= place < len(self.vectors)
            for word, place in index.items()
        )
        if not good:
            raise UserError(f"{folder / NAME}_idx.pkl: no numbers of the rows of {NAME}_data.npy by word")
        self.index: dict[str, int] = index
        for word in ("unk", "sos", "eos"):
            if word not in self.index:
                raise UserError(f"{folder / NAME}_idx.pkl: no word {word!r}, which the networks read")

    @property
    def size(self) -> int:
        """Of a vector."""
        return int(self.vectors.shape[1])

    def encode(self, tokens: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """Word vectors (L, size) and one-hot tags (L, 15) of at most ``MAX_WORDS`` (word, part of speech) pairs,
        between "sos" and "eos"."""
        cut = [("sos", "OTHER"), *tokens[:MAX_WORDS], ("eos", "OTHER")]
        places = [self.index.get(word, self.index["unk"]) for word, _ in cut]
        tags = np.zeros((len(cut), len(TAGS)), dtype=np.float32)
        for place, (word, tag) in enumerate(cut):
            known = _GROUP_OF.get(word, tag) if word in self.index else "OTHER"
            tags[place, TAGS.index(known) if known in TAGS else TAGS.index("OTHER")] = 1.0
        return self.vectors[places], tags


class _Plain(Unpickler):
    """Reads lists, dictionaries, strings and numbers; whatever would run code is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds a {module}.{name}")


def _load_plain(path: Path) -> Any:
    try:
        with open_regular(path) as file:
            memory = allowed_memory(os.fstat(file.fileno()).st_size)
            content = _Plain(file, memory).load()
            check_memory(content, memory)
            return content
    except UserError:
        raise
    except Exception as error:  # foreign bytes make pickle raise nearly anything
        raise UserError(f"{path}: no plain words: {' '.join(str(error).split())}") from None
