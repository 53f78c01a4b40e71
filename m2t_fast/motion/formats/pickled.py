"""Pickles of numbers, arrays and tensors, opened without running anything that is in them."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.formats.unpickler import Unpickler, allowed_memory, check_memory
from m2t_fast.reading import open_regular

_COMPRESSED = ((b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz"), (b"]\0\0", "lzma"), (b"\x04\x22\x4d\x18", "lz4"))


def load_pickle(path: str | Path, file: IO[bytes] | None = None) -> Any:
    """What a pickle (also joblib's, also compressed with zlib or gzip) holds.

    Args:
        path: the file, for messages, and to open where ``file`` is None.
        file: an open file at the start of the pickle.

    Raises:
        UserError: unreadable, not a pickle, it holds more than numbers, arrays, tensors and containers of them, or what
            it holds takes far more memory than the file has bytes.
    """
    if file is None:
        with foreign_bytes(path, "a pickle of arrays"), open_regular(path) as opened:
            return load_pickle(path, opened)
    with foreign_bytes(path, "a pickle of arrays"):
        memory = allowed_memory(os.fstat(file.fileno()).st_size)
        try:
            file = _inflated(path, file, memory)
            content = Unpickler(file, memory).load()
            check_memory(content, memory)
            return content
        except pickle.UnpicklingError as error:
            raise UserError(f"{path}: not opened: {one_line(error)}; only pickles of numbers and arrays are") from None


def _inflated(path: str | Path, file: IO[bytes], memory: int) -> IO[bytes]:
    """The file, or the content of a compressed one, of at most ``memory`` bytes."""
    start = file.tell()
    begin = file.read(6)
    file.seek(start)
    other = next((name for magic, name in _COMPRESSED if begin.startswith(magic)), None)
    if other is not None:
        raise UserError(f"{path}: compressed with {other}, which is not read: joblib.load and joblib.dump it without")
    if begin[:1] != b"\x78" and begin[:2] != b"\x1f\x8b":
        return file
    inflate = zlib.decompressobj(wbits=47)  # either
    try:
        content = inflate.decompress(file.read(), memory)
    except zlib.error as error:
        raise UserError(f"{path}: truncated or not a compressed pickle of arrays ({error})") from None
    if len(content) < memory and not inflate.eof:
        raise UserError(f"{path}: truncated or not a compressed pickle of arrays")
    if not inflate.eof:
        raise pickle.UnpicklingError("it takes far more memory than it has bytes")
    return io.BytesIO(content)


def load_npy(path: str | Path) -> Any:
    """What a .npy file holds: an array, or, where it is a pickle, the object, which must be of numbers alone.

    Raises:
        UserError: unreadable, truncated, or not a .npy file.
    """
    from numpy.lib import format as npy

    with foreign_bytes(path, "a .npy file of numbers", without_advice), open_regular(path) as file:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        _, _, dtype = header(file)
        if dtype.hasobject:
            found = load_pickle(path, file)
            return found.item() if isinstance(found, np.ndarray) and found.shape == () else found
        file.seek(0)
        return np.load(file, allow_pickle=False)


@contextlib.contextmanager
def foreign_bytes(path: str | Path, kind: str, said: Callable[[Exception], str] | None = None) -> Iterator[None]:
    """Inside the block any error of reading ``path`` becomes one line that says it is unreadable or not ``kind``:
    arbitrary bytes make readers raise nearly anything, from EOFError to MemoryError.

    Args:
        said: makes the message of such an exception (default: :func:`one_line`).
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except Exception as error:
        raise UserError(f"{path}: truncated or not {kind} ({(said or one_line)(error)})") from None


def plain_arrays(content: Any) -> Any:
    """Tensors as arrays, in dictionaries and lists of any depth."""
    if isinstance(content, dict):
        return {key: plain_arrays(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain_arrays(value) for value in content]
    if type(content).__module__.split(".")[0] == "torch" and hasattr(content, "detach"):
        return content.detach().cpu().float().numpy() if content.is_floating_point() else content.cpu().numpy()
    return content


def without_advice(error: Exception) -> str:
    """NumPy's errors may recommend trusting pickles."""
    text = one_line(error)
    return "it holds no arrays of numbers" if "pickle" in text else text


def one_line(error: Exception) -> str:
    """What an exception says, in at most 200 characters."""
    text = " ".join(str(error).split())
    return type(error).__name__ if isinstance(error, struct.error) or not text else text[:200]
