"""Files and folders that are either there as a whole or not at all."""

from __future__ import annotations

import errno
import functools
import glob
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO, RawIOBase
from pathlib import Path

from m2t_fast.errors import UserError

_TIDIED: set[Path] = set()
"""The files beside which this process has looked for what killed processes left."""


def umask() -> int:
    """The permission bits that this process leaves out of new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def why_not_replaceable(path: Path) -> str | None:
    """Why a file cannot take this path's place; None if it can. Renaming would take away /dev/null and /dev/stdout."""
    if path.is_dir():
        return "it is a folder"
    if (path.exists() and not path.is_file()) or (path.is_symlink() and os.readlink(path).startswith("/proc/")):
        return "it is not a regular file"
    return None


def resolved(path: str | Path) -> Path:
    """The absolute path without links; unlike ``Path.resolve`` it has an answer also where links form a loop."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a null byte: no such file can be, as its opening will say
        return Path(path).absolute()


def require_own(path: Path) -> None:
    """Raises unless a path that this package keeps in a folder of its own is a regular file or folder, or missing.

    Raises:
        UserError: it is a link, which could lead out of the folder, or neither a regular file nor a folder.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None
    if stat.S_ISLNK(mode):
        raise UserError(f"{path}: a link, expected a file or folder of this folder's own")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path}: cannot write: it is not a regular file")


def open_own(path: Path, flags: int) -> int:
    """Opens a file that this package keeps in a folder of its own, and neither follows a link nor waits for a pipe.

    Returns:
        The descriptor, for the caller to close.

    Raises:
        UserError: as :func:`require_own`, or it cannot be opened.
    """
    require_own(path)
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags | careful, 0o666)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it replaces ``path`` when the block ends without an error.

    The file is flushed to disk before it is renamed, so that a crash leaves either the old or the new content.

    Raises:
        UserError: the file cannot be written, or ``path`` is a folder or a device.
    """
    path = Path(path)
    if (reason := why_not_replaceable(path)) is not None:
        raise UserError(f"{path}: cannot write: {reason}")
    temporary = path.with_name(f".{path.name}.{_owner()}.tmp")
    if path not in _TIDIED:
        _TIDIED.add(path)
        remove_left_over(path)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~umask())  # some writers make files that only their owner can read
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file atomically, as UTF-8. What has no UTF-8, as bytes in the name of a file, is escaped.

    Raises:
        UserError: the file cannot be written.
    """
    write_bytes(path, encoded(text))


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Writes a file atomically.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def encoded(text: str) -> bytes:
    """UTF-8; what has none, as bytes in the name of a file, is escaped (``\\udcff``, as JSON does)."""
    return text.encode("utf-8", "backslashreplace")


def write_all(file: RawIOBase | BytesIO, content: bytes, path: Path) -> None:
    """Writes all of ``content`` to a file that is not buffered; ``path`` is for the message.

    Raises:
        UserError: the disk is full, or the file cannot be written.
    """
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest) or 0 :]
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that becomes ``path`` at the end; removed if the block fails, with the parents
    that were made for it.

    Raises:
        UserError: ``path`` exists or cannot be written.
    """
    path = Path(path)
    require_new(path)
    missing = _missing(path.parents)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.{_owner()}.", dir=path.parent))
    except OSError as error:
        _remove_empty(missing)
        raise UserError(f"{path}: cannot write the output folder ({error.strerror})") from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~umask())
        try:
            os.rename(temporary, path)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise UserError(f"{path}: output folder exists already: made by another process meanwhile") from None
            raise UserError(f"{path}: cannot write the output folder ({error.strerror})") from None
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(missing)
        if isinstance(error, OSError) and error.filename is None:
            raise UserError(f"{path}: cannot write: {_reason(error)}") from None
        raise


def require_new(path: Path) -> None:
    """Raises if an output folder exists. What processes that were killed beside the one that made it left is removed.

    Raises:
        UserError: it does.
    """
    remove_left_over(path)
    if path.exists():
        raise UserError(f"{path}: output folder exists already")


def make_folder(path: Path) -> None:
    """Makes a folder with its parents, or none of them; an existing folder is fine.

    Raises:
        UserError: it cannot be made.
    """
    missing = _missing(path.parents)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(missing)
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None


def _missing(parents: Iterable[Path]) -> list[Path]:
    """Those that are missing or cannot be seen."""
    return [parent for parent in parents if not os.path.lexists(parent)]


def _remove_empty(parents: Iterable[Path]) -> None:
    with suppress(OSError):  # a parent that others have put something into stays
        for parent in parents:
            parent.rmdir()


def _reason(error: OSError) -> str:
    """NumPy does not pass on why it could not write all."""
    return error.strerror or (f"{os.strerror(errno.ENOSPC)}: {error}" if "requested and" in str(error) else str(error))


def remove_folder(folder: Path, files: Iterable[Path]) -> None:
    """Removes files of a folder in their order, then the folder, unless there is something else in it: a user's own, or
    what another process has put there meanwhile.

    Raises:
        OSError: a file or the folder cannot be removed.
    """
    for path in files:
        path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


def remove_left_over(path: Path) -> None:
    """Remove the temporary files and folders of processes of this machine that were killed while they made ``path``."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        machine, _, process = left.name[len(path.name) + 2 :].partition(".")[0].partition("-")
        if machine == _machine() and process.isdigit() and not _alive(int(process)):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with suppress(OSError):
                    left.unlink()


def _owner() -> str:
    """This process, as names of temporary files have it."""
    return f"{_machine()}-{os.getpid()}"


@functools.cache
def _machine() -> str:
    """This machine or container: on another one that has the same folder, the same number is another process."""
    import platform

    names = [platform.node()]
    with suppress(OSError):
        names.append(os.readlink("/proc/self/ns/pid"))
    return f"{zlib.crc32(' '.join(names).encode()):08x}"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
