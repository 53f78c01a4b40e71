"""Named tensors in safetensors files: headers are checked before memory is taken, values before they are written."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch

from m2t_fast.errors import UserError
from m2t_fast.files import write_bytes
from m2t_fast.reading import Missing, check_archive, open_regular

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
"""The dtypes of weights, by the names in a header."""

_FOREIGN = "truncated, or not a checkpoint of plain tensors"
_UNSAFE = re.compile(r"GLOBAL ([\w.]+)")  # how torch names what it does not admit, in lines of advice


def require_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises unless every number is finite; ``path`` is for the message.

    Raises:
        UserError: NaN or infinite numbers; the message names the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{path}: {name} has values that are not finite: training went wrong, or it is damaged")


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically.

    Raises:
        UserError: the file cannot be written, or a number is not finite: then the old file stays.
    """
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    seen = set[int]()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        if storage in seen:  # tied weights: the format has each tensor once
            tensors[name] = tensor.clone()
        seen.add(storage)
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(
                f"{path}: not written: {name} has values that are not finite; training went wrong, and a smaller "
                "--learning-rate may help"
            )
    # Not save_file, which writes to a file beside the one it is given: a killed process would leave that behind.
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def read_tensors(
    path: Path, expected: Mapping[str, torch.Tensor] | None = None, strict: bool = True
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors and the metadata of a safetensors file.

    Args:
        path: the file.
        expected: tensors by name, which may be on ``meta``: the file must hold these shapes, as floats. The header
            alone is read until that is known, so that a file that does not fit takes no memory.
        strict: the file must not hold others.

    Raises:
        UserError: the file is missing or damaged, or its tensors are not those expected or do not fit in memory.
    """
    try:
        with open_regular(path) as opened, safetensors.safe_open(_utf8(path, opened), framework="pt") as file:
            names = list(file.keys())  # noqa: SIM118
            if expected is not None:
                found = {name: file.get_slice(name) for name in names}
                headers = {name: (tuple(s.get_shape()), str(s.get_dtype())) for name, s in found.items()}
                _compare(path, headers, expected, strict)
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except Missing:
        raise UserError(f"{path}: file is missing") from None
    except UserError:
        raise
    except (safetensors.SafetensorError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged or foreign weights ({error})") from error


def _utf8(path: Path, opened: IO[bytes]) -> Path | str:
    """The path or, as the library takes only UTF-8, another path to the same open file."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return f"/proc/self/fd/{opened.fileno()}"
    return path


def load_checkpoint(path: Path) -> Any:
    """What ``torch.save`` wrote, of plain tensors and containers; nothing in it runs.

    Raises:
        UserError: the file is missing, not regular, truncated or foreign, or it holds anything else.
    """
    with open_regular(path) as file:
        archive = file.read(2) == b"PK"
        file.seek(0)
        try:
            if archive:
                check_archive(file)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about foreign bytes
                return torch.load(file, map_location="cpu", weights_only=True)
        except UserError:
            raise
        except Exception as error:  # foreign bytes make torch raise nearly anything
            held = _UNSAFE.search(str(error))
            reason = (
                f"it holds {held[1]}; only tensors, numbers and containers of them are opened" if held else _FOREIGN
            )
            raise UserError(f"{path}: not a checkpoint of weights: {reason}") from None


def _compare(
    path: Path, headers: dict[str, tuple[tuple[int, ...], str]], expected: Mapping[str, torch.Tensor], strict: bool
) -> None:
    for name, tensor in expected.items():
        if name not in headers:
            raise UserError(f"{path}: tensor {name} is missing")
        shape, dtype = headers[name]
        if shape != tuple(tensor.shape):
            raise UserError(f"{path}: {name} has shape {shape}, expected {tuple(tensor.shape)}")
        if dtype not in DTYPES:
            raise UserError(f"{path}: {name} has dtype {dtype}, expected one of {', '.join(DTYPES)}")
    if strict and (unknown := sorted(set(headers) - set(expected))):
        raise UserError(f"{path}: unknown tensor {unknown[0]}")
    needed = sum(tensor.numel() * (tensor.element_size() + 8) for tensor in expected.values())
    if (free := available_memory()) is not None and needed > free:
        raise UserError(
            f"{path}: these weights need {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"
        )


def available_memory() -> int | None:
    """Bytes of main memory that can be had now, None where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError, IndexError):
        return None
