"""What torch.save writes, read as numbers: by torch's own loader where it is safe, piece by piece where it is not.

``torch.load(weights_only=True)`` runs no code, but it lets arrays of NumPy, which estimators put into their results,
claim any shape. So the archives that torch writes are read here, with every claim compared with the bytes.
"""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

from m2t_fast.errors import UserError
from m2t_fast.motion.formats.pickled import foreign_bytes, one_line
from m2t_fast.motion.formats.unpickler import Unpickler, allowed_memory, check_memory
from m2t_fast.reading import Malformed, check_archive, open_regular

_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
_DTYPES = (*_STORAGES.values(), "complex64", "complex128")


def load_torch(path: str | Path) -> Any:
    """What torch.save wrote: tensors, arrays, numbers and containers of them.

    Raises:
        UserError: unreadable, truncated, it holds anything else, or what it holds takes far more memory than the file
            has bytes.
    """
    with foreign_bytes(path, "a file of torch.save"), open_regular(path) as file:
        memory = allowed_memory(os.fstat(file.fileno()).st_size)
        archive = file.read(2) == b"PK"
        file.seek(0)
        try:
            content = _from_archive(file, memory) if archive else _from_old(file)
            check_memory(content, memory)
            return content
        except pickle.UnpicklingError as error:
            if "GLOBAL " in str(error):
                error = pickle.UnpicklingError(f"it holds {str(error).split('GLOBAL ')[-1].split()[0]}")
            elif not archive:
                raise UserError(f"{path}: truncated or not a file of torch.save") from None
            raise UserError(f"{path}: not opened: {one_line(error)}; only tensors, arrays and numbers are") from None


def _from_old(file: IO[bytes]) -> Any:
    """Files of torch before 1.6, which hold tensors alone."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about foreign bytes
        return torch.load(file, map_location="cpu", weights_only=True)


def _from_archive(file: IO[bytes], memory: int) -> Any:
    check_archive(file)
    with zipfile.ZipFile(file) as archive:
        whole = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(whole) != 1:
            raise Malformed("no data.pkl in it")
        folder = whole[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise Malformed("its numbers have another byte order")
        return _Unpickler(archive, folder, io.BytesIO(archive.read(whole[0])), memory).load()


class _Kind(NamedTuple):
    """A kind of storage: its dtype."""

    dtype: str


class _Unpickler(Unpickler):
    """Finds the bytes of tensors in the archive."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, file: IO[bytes], memory: int) -> None:
        super().__init__(file, memory)
        self.archive, self.folder = archive, folder
        self.storages: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Besides what pickles may hold: storage, sizes, devices and dtypes."""
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        if (module, name) == ("torch.storage", "UntypedStorage"):
            return _Kind("uint8")
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if module == "torch" and (name in _DTYPES or name in ("Size", "device")):
            return tuple if name == "Size" else (str if name == "device" else f"torch.{name}")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """The storage that a tensor is a view of, of the length it claims, as a tensor (N,)."""
        import torch

        name, kind, key, _, count = pid
        if name != "storage" or not isinstance(kind, _Kind) or not isinstance(key, str):
            raise pickle.UnpicklingError("it refers to something that is not a storage")
        if key not in self.storages:
            content = self.archive.read(f"{self.folder}data/{key}")
            self.charge(len(content))
            self.storages[key] = bytearray(content)
        content, dtype = self.storages[key], getattr(torch, kind.dtype)
        if len(content) != count * dtype.itemsize:
            raise pickle.UnpicklingError(f"{count} numbers in {len(content)} bytes")
        return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
