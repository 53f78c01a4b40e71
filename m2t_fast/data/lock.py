"""A lock: one job at a time works in a folder."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m2t_fast.errors import UserError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder and holds its lock; a killed process holds it no longer. Where the file system knows no locks
    there is none.

    Raises:
        UserError: another process holds it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "lock", "ab")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UserError(f"{folder}: cannot write: {error.strerror or error}") from None
    with file:
        try:
            fcntl = importlib.import_module("fcntl")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another job is at work in it") from None
        except (ImportError, OSError):
            pass
        yield
