"""Text files of other programs, in whatever encoding."""

from __future__ import annotations

from pathlib import Path

from m2t_fast.errors import UserError


def decode(path: str | Path, content: bytes, kind: str) -> str:
    """The text of a file's bytes: UTF-8, UTF-16 with or without a byte order mark, else Latin-1.

    Raises:
        UserError: it is not text; ``kind`` names what was expected.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    sample = content[:4096]
    if b"\0" in sample:
        for encoding, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
            if len(sample) > 8 and zeros.count(0) > 0.9 * len(zeros):
                return content.decode(encoding, errors="replace")
        raise UserError(f"{path}: not a {kind} file (it is not text)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # only names can be meant, and every byte is some letter
