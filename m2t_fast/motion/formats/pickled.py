"""Pickles of numbers, arrays and tensors, opened without running anything that is in them."""

from __future__ import annotations

import collections
import io
import pickle
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np

from m2t_fast.errors import UserError

_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


class Inert:
    """Stands for an object of a class that is not loaded: its state is kept, nothing of it runs.

    Body models of the SMPL family hold chumpy arrays and scipy matrices; their numbers are in the state.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _JoblibArray(Inert):
    """joblib's wrapper of an array, whose bytes follow in the file."""


def _empty(*_: Any) -> np.ndarray:
    return np.ndarray((0,), dtype="b")  # the state, which follows, has shape, type and bytes


def _scalar(dtype: np.dtype, content: bytes = b"") -> Any:
    return np.frombuffer(content, dtype=dtype, count=1)[0]


def _frombuffer(content: Any, dtype: np.dtype, shape: Any, order: str = "C") -> np.ndarray:
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding != "utf-8" else "utf-8")


def _tensor_from_bytes(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


_ADMITTED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _empty for module in _CORE},
    **{(module, "scalar"): _scalar for module in _CORE},
    **{(module, "_frombuffer"): _frombuffer for module in _NUMERIC},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): lambda *_: {},
    ("builtins", "list"): list,
    ("builtins", "dict"): dict,
    ("builtins", "int"): int,
    ("builtins", "set"): set,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _JoblibArray,
    ("torch.storage", "_load_from_bytes"): _tensor_from_bytes,
}
_INERT = ("chumpy", "scipy.sparse")


def _rebuild_tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    import torch

    whole = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
    return torch.as_strided(whole, size, stride, offset)  # which refuses what lies outside


_PurePython: Any = pickle._Unpickler  # type: ignore[attr-defined]  # the one whose steps can be changed


class _Unpickler(_PurePython):
    """Admits numbers, strings, containers, NumPy arrays and torch tensors; every other class is refused by its name."""

    dispatch = dict(_PurePython.dispatch)

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")
        self.file = file

    def find_class(self, module: str, name: str) -> Any:
        """Only what is admitted."""
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        if module.split(".")[0] == "chumpy" or module.startswith("scipy.sparse"):
            return Inert
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return _rebuild_tensor
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array of numbers")

    def load_build(self) -> None:
        """Sets a state; the bytes of joblib's arrays follow in the file."""
        super().load_build()
        if isinstance(self.stack[-1], _JoblibArray):
            self.stack[-1] = self._joblib_array(self.stack[-1].state)

    dispatch[pickle.BUILD[0]] = load_build

    def _joblib_array(self, state: dict[str, Any]) -> np.ndarray:
        dtype, shape = np.dtype(state["dtype"]), tuple(int(size) for size in state["shape"])
        if dtype.hasobject:
            raise pickle.UnpicklingError("an array of objects in it")
        if state.get("numpy_array_alignment_bytes") is not None:
            self.file.read(self.file.read(1)[0])
        count = int(np.prod(shape, dtype=object))
        content = self.file.read(count * dtype.itemsize)
        return np.frombuffer(content, dtype=dtype, count=count).reshape(shape, order=state.get("order", "C"))


def load_pickle(path: str | Path, file: IO[bytes] | None = None) -> Any:
    """What a pickle (also joblib's, uncompressed) holds.

    Args:
        path: the file, for messages, and to open where ``file`` is None.
        file: an open file at the start of the pickle.

    Raises:
        UserError: unreadable, no pickle, or it holds more than numbers, arrays, tensors and containers of them.
    """
    try:
        if file is not None:
            return _Unpickler(file).load()
        with open(path, "rb") as opened:
            return _Unpickler(opened).load()
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: not opened: {_one_line(error)}; only pickles of numbers and arrays are") from None
    except Exception as error:  # foreign bytes make the unpickler raise nearly anything, from EOFError to MemoryError
        raise UserError(f"{path}: truncated or not a pickle of arrays ({_one_line(error)})") from None


def load_torch(path: str | Path) -> Any:
    """What torch.save wrote: tensors, arrays, numbers and containers of them.

    Raises:
        UserError: unreadable, truncated, or it holds anything else.
    """
    import torch
    from torch.serialization import safe_globals

    arrays: list[Any] = [np.ndarray, np.dtype, *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}]
    try:  # names of NumPy 2 and 1
        from numpy._core.multiarray import _reconstruct, scalar  # type: ignore[attr-defined]

        arrays += [(_reconstruct, "numpy.core.multiarray._reconstruct"), _reconstruct]
        arrays += [(scalar, "numpy.core.multiarray.scalar"), scalar]
    except ImportError:
        pass
    try:
        with safe_globals(arrays):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        if "GLOBAL " not in str(error):
            raise UserError(f"{path}: truncated or not a file of torch.save") from None
        asked = str(error).split("GLOBAL ")[-1].split()[0]
        raise UserError(f"{path}: not opened: it holds {asked}; only tensors, arrays and numbers are") from None
    except Exception as error:  # foreign bytes again
        raise UserError(f"{path}: truncated or not a file of torch.save ({_one_line(error)})") from None


def load_npy(path: str | Path) -> Any:
    """What a .npy file holds: an array, or, where it is a pickle, the object, which must be of numbers alone.

    Raises:
        UserError: unreadable, truncated, or no .npy.
    """
    from numpy.lib import format as npy

    try:
        with open(path, "rb") as file:
            version = npy.read_magic(file)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            _, _, dtype = header(file)
            if dtype.hasobject:
                found = load_pickle(path, file)
                return found.item() if isinstance(found, np.ndarray) and found.shape == () else found
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: truncated or not a .npy file of numbers ({_plain(error)})") from None


def plain_arrays(content: Any) -> Any:
    """Tensors as arrays, in dictionaries and lists of any depth."""
    if isinstance(content, dict):
        return {key: plain_arrays(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain_arrays(value) for value in content]
    if type(content).__module__.split(".")[0] == "torch" and hasattr(content, "detach"):
        return content.detach().cpu().float().numpy() if content.is_floating_point() else content.cpu().numpy()
    return content


def _plain(error: Exception) -> str:
    text = _one_line(error)
    return "it is no array" if "pickle" in text else text


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return type(error).__name__ if isinstance(error, struct.error) or not text else text[:200]
