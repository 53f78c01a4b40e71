"""Control characters written out, so that no word or name controls a terminal or ends a line of a table."""

from __future__ import annotations

_CONTROL = (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029)
_ESCAPED = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _CONTROL}
_IN_LINES = {code: text for code, text in _ESCAPED.items() if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """The text with control characters, but line ends and tabs, written out: a word cannot colour a terminal."""
    return text.translate(_IN_LINES)


def visible_line(text: str) -> str:
    """The text with all control characters written out: it stays one line, and one cell of a table."""
    return text.translate(_ESCAPED)
