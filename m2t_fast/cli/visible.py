"""What is printed: control characters are shown in place of being obeyed, and what the encoding lacks is escaped."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """The text with control characters, but line ends and tabs, written out: a word cannot colour a terminal."""
    return text.translate(_ESCAPED)


class Visible:
    """A text stream that is written to as another one, by way of :func:`visible`."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes all of the text, whatever the stream's encoding."""
        shown = visible(text)
        encoding = getattr(self._stream, "encoding", None)
        if encoding and not shown.isascii():
            shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        self._stream.write(shown)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def visible_output() -> Iterator[None]:
    """Inside the block stdout shows control characters."""
    with contextlib.redirect_stdout(Visible(sys.stdout)):  # type: ignore[type-var]
        yield
