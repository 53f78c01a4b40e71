"""Locks: one process at a time writes a file or works in a folder."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from m2t_fast.errors import UserError
from m2t_fast.files import make_folder, open_own

LOCK = "lock"
"""The file of a folder whose lock is that of the folder."""

_TRIES = 10


@contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Holds the lock of a file, which is made if it is missing; a killed process no longer holds it. Where the file
    system has no locks there is none.

    Yields:
        What raises UserError if the file, and with it the lock, is gone: somebody has removed it.

    Raises:
        UserError: another process holds it, or the file is a link, not a regular file, or cannot be opened.
    """
    with os.fdopen(open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab") as file:
        try:
            fcntl = importlib.import_module("fcntl")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(path.parent) from None
        except (ImportError, OSError):
            pass
        if not _same(file.fileno(), path):  # the lock of a file that is gone keeps nobody out
            raise _held(path.parent)

        def check() -> None:
            if not _same(file.fileno(), path):
                raise UserError(f"{path.parent}: was removed while this process was at work in it")

        yield check


@contextmanager
def locked_folder(folder: Path) -> Iterator[Callable[[], None]]:
    """Makes the folder, if it is missing, and holds the lock of its file :data:`LOCK`. Who holds it may remove the
    folder, the lock last. Yields what :func:`locked` does.

    Raises:
        UserError: another process holds it, or the folder cannot be made.
    """
    with ExitStack() as stack:
        for again in reversed(range(_TRIES)):
            make_folder(folder)
            try:
                check = stack.enter_context(locked(folder / LOCK))
                break
            except UserError:
                if folder.exists() or not again:  # else another process has just removed it
                    raise
        yield check


def _held(folder: Path) -> UserError:
    return UserError(f"{folder}: another process is at work in this folder")


def _same(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
