"""An unpickler of numbers, strings, containers, arrays and tensors: nothing in a pickle runs, and what it says about
shapes and types is compared with the bytes that it holds before NumPy or torch hears of it.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import re
from typing import IO, Any

import numpy as np

_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_CODES = re.compile(r"[<>=|]?(\?|b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6}|O8?)")
"""NumPy's spellings of the types that arrays may have."""

_ALWAYS, _PER_BYTE = 1 << 26, 32
_DEEPEST = 200


def allowed_memory(size: int) -> int:
    """Bytes that the content of a file of ``size`` bytes may take in memory: a pickle of a few bytes may name one
    object many times over."""
    return _ALWAYS + _PER_BYTE * size


class Inert:
    """Stands in for an object of a class that is not loaded: its state is kept, nothing of it runs.

    Body models of the SMPL family hold chumpy arrays and scipy matrices; their numbers are in the state.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _JoblibArray(Inert):
    """joblib's wrapper of an array, whose bytes follow in the file."""


class _Dtype:
    """Stands in for a NumPy dtype, whose own state could claim fields outside of it."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        if not (isinstance(code, str) and _CODES.fullmatch(code)):
            raise pickle.UnpicklingError(f"an array of type {str(code)[:40]!r} in it")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "=", "|")):
            raise pickle.UnpicklingError("an array of an unknown type in it")
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array of structures in it")
        self.dtype = self.dtype.newbyteorder(state[1])


def _empty(*_: Any) -> np.ndarray:
    return np.ndarray((0,), dtype="b")  # the state, which follows, has shape, type and bytes


def _scalar(kind: _Dtype, content: bytes | str = b"") -> Any:
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, dtype=kind.dtype, count=1)[0]


def _frombuffer(content: Any, kind: _Dtype, shape: Any, order: str = "C") -> np.ndarray:
    return np.frombuffer(content, dtype=kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding != "utf-8" else "utf-8")


def _tensor_from_bytes(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


def _named(*_: Any) -> Any:
    """Stands in for classes that pickles name as an argument and never call."""
    raise pickle.UnpicklingError("it makes an object without content")


_ADMITTED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _empty for module in _CORE},
    **{(module, "scalar"): _scalar for module in _CORE},
    **{(module, "_frombuffer"): _frombuffer for module in _NUMERIC},
    ("numpy", "ndarray"): _named,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): lambda *_: {},
    ("builtins", "list"): _named,
    ("builtins", "dict"): _named,
    ("builtins", "int"): _named,
    ("builtins", "set"): set,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _JoblibArray,
    ("torch.storage", "_load_from_bytes"): _tensor_from_bytes,
}
_BUILT = (Inert, _Dtype, collections.OrderedDict)
"""What may be given a state, besides arrays; classes and functions must stay as they are."""

_PurePython: Any = pickle._Unpickler  # type: ignore[attr-defined]  # the one whose steps can be changed


class Unpickler(_PurePython):
    """Admits numbers, strings, containers, NumPy arrays and torch tensors; every other class is refused by its name.

    Args:
        file: at the start of the pickle.
        memory: bytes that calls in the pickle may take, see :func:`allowed_memory`.
    """

    dispatch = dict(_PurePython.dispatch)

    def __init__(self, file: IO[bytes], memory: int) -> None:
        super().__init__(file, encoding="latin1")
        self.file, self.memory = file, memory

    def find_class(self, module: str, name: str) -> Any:
        """Only what is admitted."""
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        if module.split(".")[0] == "chumpy" or module.startswith("scipy.sparse"):
            return Inert
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return self._tensor
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not an array of numbers")

    def charge(self, size: int) -> None:
        """Counts memory that is taken.

        Raises:
            pickle.UnpicklingError: it is more than a file of this size may take.
        """
        self.memory -= size
        if self.memory < 0:
            raise pickle.UnpicklingError("it takes far more memory than it has bytes")

    def _charge_arguments(self, arguments: Any) -> None:
        sized = (str, bytes, bytearray, list, tuple, dict, set)
        self.charge(64 + sum(8 * len(one) for one in arguments if isinstance(one, sized)))

    def load_reduce(self) -> None:
        """Calls what is admitted."""
        self._charge_arguments(self.stack[-1])
        super().load_reduce()

    dispatch[pickle.REDUCE[0]] = load_reduce

    def _instantiate(self, kind: Any, arguments: Any) -> None:
        self._charge_arguments(arguments)
        super()._instantiate(kind, arguments)

    def load_build(self) -> None:
        """Sets a state; the bytes of joblib's arrays follow in the file."""
        built = self.stack[-2]
        if isinstance(built, np.ndarray):
            self._set_array(built, self.stack.pop())
        elif isinstance(built, _BUILT):
            super().load_build()
        else:
            raise pickle.UnpicklingError(f"it changes a {type(built).__name__}")
        if isinstance(self.stack[-1], _JoblibArray):
            self.stack[-1] = self._joblib_array(self.stack[-1].state)

    dispatch[pickle.BUILD[0]] = load_build

    def _set_array(self, array: np.ndarray, state: Any) -> None:
        """Sets the state of an array after checking that it has as many bytes as its shape and type need."""
        *_, shape, kind, fortran, content = state
        count = math.prod(_shape(shape))
        if isinstance(content, str):  # Python 2
            content = content.encode("latin1")
        of_objects = kind.dtype.hasobject
        needed = count if of_objects else count * kind.dtype.itemsize
        if len(content) != needed or not isinstance(content, list if of_objects else bytes | bytearray):
            raise pickle.UnpicklingError("an array whose shape and content do not fit together")
        self.charge(needed)
        set_state: Any = array.__setstate__
        set_state((1, tuple(shape), kind.dtype, bool(fortran), content))

    def _joblib_array(self, state: dict[str, Any]) -> np.ndarray:
        dtype, shape = state["dtype"].dtype, _shape(state["shape"])
        if dtype.hasobject:
            raise pickle.UnpicklingError("an array of objects in it")
        if state.get("numpy_array_alignment_bytes") is not None:
            self.file.read(self.file.read(1)[0])
        count = math.prod(shape)
        self.charge(count * dtype.itemsize)
        content = self.file.read(count * dtype.itemsize)
        return np.frombuffer(content, dtype=dtype, count=count).reshape(shape, order=state.get("order", "C"))

    def _tensor(self, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
        import torch

        whole = storage
        if not isinstance(storage, torch.Tensor):
            whole = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
        self.charge(math.prod(_shape(size)) * whole.element_size())  # strides of 0 make much of little
        return torch.as_strided(whole, size, stride, offset)  # which refuses what lies outside


def _shape(sizes: Any) -> tuple[int, ...]:
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise pickle.UnpicklingError("an array of an impossible shape in it")
    return tuple(sizes)


def check_memory(content: Any, memory: int) -> None:
    """Raises unless the content, written out with nothing shared, takes at most ``memory`` bytes.

    Raises:
        pickle.UnpicklingError: it takes more, holds itself, or is nested too deeply.
    """
    known: dict[int, int] = {}

    def of(value: Any, depth: int) -> int:
        if depth > _DEEPEST:
            raise pickle.UnpicklingError("it is nested too deeply")
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return value.nbytes
        if isinstance(value, str | bytes | bytearray):
            return len(value)
        if hasattr(value, "element_size"):
            return int(value.numel() * value.element_size())
        if not isinstance(value, dict | list | tuple | set | np.ndarray | Inert):
            return 8
        if id(value) not in known:
            if isinstance(value, Inert):
                inner: Any = [value.state]
            elif isinstance(value, dict):
                inner = [*value.keys(), *value.values()]
            else:
                inner = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else value
            known[id(value)] = 8 + sum(8 + of(one, depth + 1) for one in inner)
        return known[id(value)]

    if of(content, 0) > memory:
        raise pickle.UnpicklingError("it takes far more memory than it has bytes")
