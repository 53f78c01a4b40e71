"""Locks: one process at a time writes a file or works in a folder."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m2t_fast.errors import UserError
from m2t_fast.files import make_folder, open_own


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file, which is made if it is missing; a killed process no longer holds it. Where the file
    system has no locks there is none.

    Raises:
        UserError: another process holds it, or the file is a link, not a regular file, or cannot be opened.
    """
    with os.fdopen(open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab") as file:
        try:
            fcntl = importlib.import_module("fcntl")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{path.parent}: another process is at work in this folder") from None
        except (ImportError, OSError):
            pass
        yield


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Makes the folder, if it is missing, and holds the lock of its file ``lock``.

    Raises:
        UserError: another process holds it, or the folder cannot be made.
    """
    make_folder(folder)
    with locked(folder / "lock"):
        yield
