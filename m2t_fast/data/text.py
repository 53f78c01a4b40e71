"""Captions as written to lower-case word tokens."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u00b4\u0060", "'"))
_ACCENTS = re.compile("[\u0300-\u036f]")


def tokenise(text: str) -> list[str]:
    """The words of a caption: lower case, punctuation left out, apostrophes inside words kept ("person's", "don't").

    Unicode is folded: full-width and ligature forms to plain letters, accents dropped ("Café" gives "cafe"), curly
    apostrophes to straight ones. Hyphens and slashes separate words. A text without a letter or digit gives [].
    """
    if not text.isascii() or "`" in text:
        # Lower case comes before the accents go, because lower-casing itself can produce one (U+0130).
        text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).lower()
        text = unicodedata.normalize("NFC", _ACCENTS.sub("", text))
    return _WORD.findall(text.lower())
