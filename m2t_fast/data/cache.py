"""Preprocessed data sets on disk, reused as long as neither the data, the settings nor the code changed."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path, resolved
from m2t_fast.reading import parse_json, require_regular

_KEPT_PER_FOLDER = 4


def directory() -> Path:
    """Where caches go: ``$M2T_FAST_CACHE``, else ``$XDG_CACHE_HOME/m2t_fast``, else ``~/.cache/m2t_fast``."""
    if own := os.environ.get("M2T_FAST_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "m2t_fast"
    return Path(os.path.expanduser("~")) / ".cache" / "m2t_fast"


def path_of(folder: Path, arguments: dict[str, Any]) -> Path:
    """The cache file of a data folder preprocessed with JSON-ready ``arguments``.

    Its name holds a hash of the folder's resolved path and one of the arguments, of name, size and modification time
    of every file the folder is read from, and of this package's own source files, so that no change goes unnoticed.
    """
    key = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        key.update(source.read_bytes())
    for part in (".", "new_joints", "new_joint_vecs", "texts"):
        for entry in _files(folder / part):
            key.update(f"{part}/{entry[0]}\0{entry[1]}\0{entry[2]}\n".encode(errors="surrogateescape"))
    owner = hashlib.sha256(str(resolved(folder)).encode(errors="surrogateescape")).hexdigest()[:16]
    return directory() / f"{owner}-{key.hexdigest()[:32]}.safetensors"


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """(name, size, mtime_ns) of the data files directly in a folder, sorted; [] if there is no such folder."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".npy", ".txt")) or entry.name == "segments.json":
                with suppress(OSError):  # a link to nowhere
                    stat = entry.stat()
                    found.append((entry.name, stat.st_size, stat.st_mtime_ns))
    return sorted(found)


def fetch(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and the dictionary that ``store`` put into ``file``; None if it is missing, damaged or foreign."""
    try:
        require_regular(file)
        with safetensors.safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
        content = metadata["content"]
        if int(metadata["checksum"]) != _checksum(tensors, content):
            return None
        os.utime(file)  # the most recently used caches of a folder are kept
        found: dict[str, Any] = parse_json(content, {})
        return tensors, found
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, safetensors.SafetensorError):
        return None  # whatever is odd: it is built again


def store(file: Path, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
    """Writes contiguous tensors and a JSON-ready dictionary as a whole, and removes the least recently used caches of
    the same data folder beyond a handful. Where nothing can be written, nothing is: a cache is only a convenience."""
    text = json.dumps(content)
    metadata = {"content": text, "checksum": str(_checksum(tensors, text))}
    with suppress(OSError, UserError, safetensors.SafetensorError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            safetensors.torch.save_file(tensors, temporary, metadata=metadata)
        owner = file.name.partition("-")[0]
        siblings = sorted(file.parent.glob(f"{owner}-*.safetensors"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
        for old in siblings[_KEPT_PER_FOLDER:]:
            old.unlink()


def _checksum(tensors: dict[str, Tensor], text: str) -> int:
    value = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]  # its dtype and shape are part of what was stored: a header may lie about them
        value = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(), value)
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return value
