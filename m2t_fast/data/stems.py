"""Porter stems of caption words, each computed once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _porter() -> Any:
    # Imported on first use: NLTK takes longer to import than the rest of the data package together.
    from nltk.stem import PorterStemmer

    return PorterStemmer()


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The Porter stem of a lower-case word; a possessive 's or s' is taken off first ("person's" gives "person")."""
    return str(_porter().stem(word.removesuffix("'s").removesuffix("'") or word))
