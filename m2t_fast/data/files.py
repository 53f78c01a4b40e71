"""Files that are either there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from m2t_fast.errors import UserError


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
