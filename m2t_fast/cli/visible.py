"""What is printed: control characters are shown instead of obeyed, what the encoding lacks is escaped, and
a closed stderr does not end the work."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from m2t_fast.visible import visible
from m2t_fast.wording import counted

LONGEST_LINE = 2000
"""Characters of a line on stderr: what files hold may be quoted there, and a name or a value may be megabytes long."""

_LAST = 400  # of them at the end, where messages say what to do
_BAR = re.compile(r"(\r|(?:\x1b\[A)+)?(.*?)(\r?)", re.DOTALL)
"""What a progress bar writes: it goes back to the start of its line, or lines up, before its text or after it."""


def shortened(text: str) -> str:
    """The text with the middle of lines left out that are longer than ``LONGEST_LINE``."""
    if len(text) <= LONGEST_LINE:
        return text
    return "\n".join(map(_shortened_line, text.split("\n")))


def _shortened_line(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    left_out = len(line) - LONGEST_LINE
    return f"{line[: LONGEST_LINE - _LAST]} [{counted(left_out, 'character')} left out] {line[-_LAST:]}"


class Visible:
    """A text stream that writes to another one through :func:`visible`."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes all of the text, whatever the stream's encoding."""
        shown = self._shown(text)
        encoding = getattr(self._stream, "encoding", None)
        if encoding and not shown.isascii():
            shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        self._stream.write(shown)
        return len(text)

    def _shown(self, text: str) -> str:
        return visible(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class VisibleMessages(Visible):
    """The stream of messages and progress bars: lines are shortened, and bars may go back.

    Once it cannot be written to (its reader has ended, the disk is full), what is written to it is lost: results are
    not.
    """

    def write(self, text: str) -> int:
        """Writes all of the text, or loses it."""
        try:
            return super().write(text)
        except OSError:
            discard(self._stream)
            return len(text)

    def flush(self) -> None:
        """Hands over what was written, or loses it."""
        try:
            self._stream.flush()
        except OSError:
            discard(self._stream)

    def _shown(self, text: str) -> str:
        back, inner, after = _BAR.fullmatch(text).groups("")  # type: ignore[union-attr]  # it matches any text
        return f"{back}{shortened(visible(inner))}{after}"


def discard(stream: TextIO) -> None:
    """From now on what is written to a stream is dropped; otherwise Python would flush it at exit and complain.

    Streams that belong to no file are left as they are.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


def open_closed_streams() -> None:
    """Where the process began without stdin, stdout or stderr (``>&-``, services), their numbers lead nowhere: else the
    next file that is opened would have the number of stdout, and what a library prints would go into it."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if name != "stdin":  # whose reader says that it is closed
                setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8", errors="backslashreplace"))


@contextlib.contextmanager
def visible_output() -> Iterator[None]:
    """Inside the block stdout and stderr show control characters."""
    with (
        contextlib.redirect_stdout(Visible(sys.stdout)),  # type: ignore[type-var]
        contextlib.redirect_stderr(VisibleMessages(sys.stderr)),  # type: ignore[type-var]
    ):
        yield
