"""Reads files that may be damaged, forged or not files at all: only regular files, and only JSON of a declared form.

Everything that the package reads as text goes through :func:`read_text`, everything that it reads as JSON through
:func:`parse_json` or :func:`read_json`, whose result has the types that were declared: no caller meets a string where
it expects a number, an integer that no machine word holds, a number that is not finite, or half of a character.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import stat
import zipfile
from pathlib import Path
from typing import IO, Any

from m2t_fast.errors import UserError

LARGEST_TEXT = 2**30
"""Bytes of the longest text that is read at once."""

_UNPACKED, _GROWTH = 1 << 26, 64
"""Bytes that an archive may unpack to in any case, and in addition per byte of its own."""

_LONG_NUMBER = re.compile(r"\d{19}")
_SURROGATE = re.compile(r"\\u[dD][89abcdefABCDEF]")
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 60


class Malformed(ValueError):
    """Content that is not what was declared. The message says where and what was expected, not in which file."""


class Unreadable(UserError):
    """A file that cannot be read: missing, locked away, a folder, a device, too large or not text.

    ``reason`` is the message without the path.
    """

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: {'' if isinstance(self, NotText) else 'cannot read: '}{reason}")
        self.reason = reason


class NotText(Unreadable):
    """Its bytes are not text in the requested encoding."""


class Missing(Unreadable):
    """There is no such file."""


def shown(value: object) -> str:
    """A value for a message: shortened, however long or deeply nested it is."""
    return _SHOWN.repr(value)


def open_regular(path: str | Path) -> IO[bytes]:
    """Opens a regular file for reading bytes; never blocks, as opening a pipe without a writer would.

    Raises:
        Missing: there is no such file.
        Unreadable: it cannot be opened, or is a folder, a pipe, a socket or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise Missing(path, error.strerror or "no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise Unreadable(path, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unreadable(path, "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file")
    return os.fdopen(descriptor, "rb")


def require_regular(path: str | Path) -> None:
    """For files that a library opens itself.

    Raises:
        Missing, Unreadable: as :func:`open_regular`.
    """
    open_regular(path).close()


def read_bytes(path: str | Path, most: int = LARGEST_TEXT) -> bytes:
    """The whole of a regular file of at most ``most`` bytes.

    Raises:
        Missing, Unreadable: as :func:`open_regular`; also a larger file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise Unreadable(path, f"{size} bytes, expected at most {most}")
        try:
            return file.read()
        except OSError as error:
            raise Unreadable(path, error.strerror or str(error)) from None


def check_archive(file: IO[bytes]) -> None:
    """Refuses a .zip archive whose members unpack to far more than the archive has bytes.

    Args:
        file: open at its start, where it is left.

    Raises:
        Malformed: it is such an archive, or not an archive.
    """
    packed = os.fstat(file.fileno()).st_size
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except Exception as error:  # foreign bytes make zipfile raise nearly anything
        raise Malformed(f"no archive ({' '.join(str(error).split())[:120]})") from None
    file.seek(0)
    if unpacked > _UNPACKED + _GROWTH * packed:
        raise Malformed(f"its {packed:,} bytes unpack to {unpacked:,}")


def read_text(path: str | Path, encoding: str = "utf-8", most: int = LARGEST_TEXT) -> str:
    """The whole of a regular file of at most ``most`` bytes as text, every line end as ``\n``.

    Raises:
        Missing, Unreadable: as :func:`read_bytes`. NotText: not text in this encoding.
    """
    try:
        text = read_bytes(path, most).decode(encoding)
    except UnicodeDecodeError as error:
        raise NotText(path, f"not UTF-8 text (byte {error.start})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def parse_json(text: str | bytes, form: Any = Any, where: str = "", surrogates: bool = False) -> Any:
    """A JSON document of the declared ``form``.

    Args:
        text: the document; bytes are UTF-8.
        form: what it must be. ``str``, ``bool``, ``None``; ``int``, which a machine word of 64 bits holds; ``float``,
            any finite number; ``[form]``, a list of these; ``{"name": form}``, an object with at least these names,
            where a name that ends in ``?`` may be missing; ``{str: form}``, an object of any names; a tuple of forms:
            one of them; ``Any``: anything, also NaN and infinity, which Python's JSON knows.
        where: what messages begin with.
        surrogates: accept lone surrogates, which stand for bytes that are not UTF-8, as in names of files.

    Raises:
        Malformed: the text is not JSON or its content is not of this form.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        content = json.loads(text, parse_int=_integer if _LONG_NUMBER.search(text) is not None else None)
        if not surrogates and _SURROGATE.search(text) is not None:
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise Malformed(f"{where}not JSON (nested too deeply)") from None
    except UnicodeEncodeError:
        raise Malformed(f"{where}half a character (a lone surrogate) in a string") from None
    except UnicodeDecodeError as error:
        raise Malformed(f"{where}not UTF-8 text (byte {error.start})") from None
    except ValueError as error:
        raise Malformed(f"{where}not JSON ({error})") from None
    check_form(content, form, where)
    return content


def read_json(path: str | Path, form: Any = Any, encoding: str = "utf-8") -> Any:
    """The JSON document in a file; see :func:`parse_json`.

    Raises:
        Missing, Unreadable: as :func:`read_text`.
        Malformed: as :func:`parse_json`.
    """
    return parse_json(read_text(path, encoding), form)


def check_form(value: Any, form: Any, where: str = "") -> None:
    """Raises unless ``value`` is of ``form``; see :func:`parse_json`.

    Raises:
        Malformed: the message names the place and what was expected there.
    """
    if isinstance(form, list):
        if not isinstance(value, list):
            raise Malformed(f"{where}got {shown(value)}, expected a list")
        for place, item in enumerate(value):
            check_form(item, form[0], f"{where}item {place}: ")
    elif isinstance(form, dict):
        if not isinstance(value, dict):
            raise Malformed(f"{where}got {shown(value)}, expected an object")
        for name, inner in form.items():
            if name is str:
                for key, item in value.items():
                    check_form(item, inner, f"{where}{shown(key)}: ")
            elif (key := name.removesuffix("?")) in value:
                check_form(value[key], inner, f"{where}{key}: ")
            elif not name.endswith("?"):
                raise Malformed(f"{where}{key} is missing")
    elif isinstance(form, tuple):
        inner = next((one for one in form if isinstance(one, dict | list) and isinstance(value, type(one))), None)
        if inner is not None:
            check_form(value, inner, where)
        elif not any(_is(value, one) for one in form if not isinstance(one, dict | list)):
            kinds = (_KINDS[type(one) if isinstance(one, dict | list) else one] for one in form)
            raise Malformed(f"{where}got {shown(value)}, expected {' or '.join(kinds)}")
    elif form is not Any and not _is(value, form):
        raise Malformed(f"{where}got {shown(value)}, expected {_KINDS[form]}")


_KINDS: dict[Any, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    None: "null",
}


def _is(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if kind is int:
        return type(value) is int and -(2**63) <= value < 2**64
    if kind is float:
        return type(value) is int and abs(value) < 2**64 or type(value) is float and math.isfinite(value)
    return isinstance(value, kind)


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (value := int(digits)) < 2**64:
        raise ValueError(f"an integer of {len(digits)} digits, expected one that 64 bits hold")
    return value
