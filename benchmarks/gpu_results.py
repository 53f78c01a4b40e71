"""A device's measurements as a JSON file: read, merged and written; a killed run or another section costs nothing.

``benchmarks/results/DEVICE.json`` holds sections, a section rows, and a row, beside what names it, ``ways``: what was
found in each way, numbers or a ``note``. Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOT_TRIED = ("no time left", "left out", "not built", "too long")
"""How notes begin that say nothing about a way: they never replace a number, or a reason why there is none."""
Row = dict[str, Any]


def folder() -> Path:
    """Where results lie; M2T_FAST_RESULTS names another place."""
    return Path(os.environ.get("M2T_FAST_RESULTS") or ROOT / "benchmarks" / "results")


def tuned() -> Path:
    """Where tuned launch configurations lie; M2T_FAST_DEVICES names another place."""
    return Path(os.environ.get("M2T_FAST_DEVICES") or ROOT / "kernels" / "devices")


def file_name(device: str) -> str:
    """``nvidia_h100_80gb_hbm3.json`` of the device name ``NVIDIA H100 80GB HBM3``."""
    return re.sub(r"[^a-z0-9]+", "_", device.lower()).strip("_") + ".json"


def read(path: Path) -> dict[str, Any]:
    """A file's results; none where it is not there or is no such file."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, results: dict[str, Any]) -> None:
    """Replace the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(temporary, path)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Inside the block no other process changes the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.stem}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def record(device: str, section: str, row: Row, way: str, values: dict[str, Any], software: dict[str, Any]) -> None:
    """Add what was found for one row in one way."""
    path = folder() / file_name(device)
    new = {"device": device, "sections": {section: [{**row, "ways": {way: values}}]}, "software": {section: software}}
    with held(path):
        write(path, merged(read(path), new))


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Both results of one device, of the same row and way the newer."""
    result = {**old, **new}
    result["software"] = {**old.get("software", {}), **new.get("software", {})}
    sections = {name: [dict(row) for row in rows] for name, rows in old.get("sections", {}).items()}
    for name, rows in new.get("sections", {}).items():
        known = sections.setdefault(name, [])
        for row in rows:
            _merge_row(known, row)
    result["sections"] = sections
    return result


def _merge_row(known: list[Row], row: Row) -> None:
    for other in known:
        if identity(other) == identity(row):
            ways = dict(other["ways"])
            ways |= {way: values for way, values in row["ways"].items() if way not in ways or not not_tried(values)}
            other["ways"] = ways
            return
    known.append(dict(row))


def identity(row: Row) -> Row:
    """What names a row."""
    return {key: value for key, value in row.items() if key != "ways"}


def not_tried(values: dict[str, Any]) -> bool:
    """Whether a way was only left out."""
    return str(values.get("note", "")).startswith(NOT_TRIED)


def merge_training(path: Path, new: dict[str, Any]) -> None:
    """Add what `train.py` has found to its file: of the same data, scoring, dtype and way the newer.

    What another processor measured goes: ratios are within one machine.
    """
    with held(path):
        old = read(path)
        if _processor(old) != _processor(new):
            old = {}
        data = {_training_name(found): found for found in old.get("data", [])}
        for found in new["data"]:
            name = _training_name(found)
            data[name] = _merged_training(data[name], found) if name in data else found
        write(path, {**old, **new, "data": list(data.values())})


def _processor(results: dict[str, Any]) -> Any:
    return results.get("machine", {}).get("processor")


def _training_name(found: dict[str, Any]) -> tuple[str, str, str]:
    return found["data"], found["scoring"], found["dtype"]


def _merged_training(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    result = {**old, **new}
    for name in ("ways", "seconds_full"):
        result[name] = {**old.get(name, {}), **new.get(name, {})}
    result["notes"] = {**{k: v for k, v in old["notes"].items() if k not in new["ways"]}, **new["notes"]}
    buckets = {(bucket["frames"], bucket["words"]): bucket for bucket in old["buckets"]}
    for bucket in new["buckets"]:
        name = bucket["frames"], bucket["words"]
        known = buckets.get(name, {}).get("seconds", {})
        buckets[name] = {**bucket, "seconds": {**known, **bucket["seconds"]}}
    result["buckets"] = list(buckets.values())
    return result


def merge_file(path: Path) -> Path:
    """Merge another file of results into this checkout's of the same device; gives the latter.

    Raises:
        ValueError: the file holds no results.
    """
    new = read(path)
    if isinstance(new.get("data"), list) and isinstance(new.get("machine"), dict):
        target = folder() / f"train_{file_name(new['machine']['device'])}"
        merge_training(target, new)
        return target
    if not isinstance(new.get("sections"), dict) or not isinstance(new.get("device"), str):
        raise ValueError(f"{path}: expected results of benchmarks/gpu.py or benchmarks/train.py")
    target = folder() / file_name(new["device"])
    with held(target):
        write(target, merged(read(target), new))
    return target


def short_lines(results: dict[str, Any]) -> list[str]:
    """One line for each row that has a number: all its ways."""
    lines = []
    for name, rows in results.get("sections", {}).items():
        for row in rows:
            cells = [f"{way} {text}" for way, values in row["ways"].items() if (text := short(values))]
            if cells:
                lines.append(f"{name} {' '.join(map(str, identity(row).values()))}: {', '.join(cells)}")
    for found in results.get("data", []):
        cells = [f"{way} {values['samples_per_second']:,.0f} samples/s" for way, values in found["ways"].items()]
        lines.append(f"training {found['data']} {found['dtype']}: {', '.join(cells)}")
    return lines


def short(values: dict[str, Any]) -> str:
    """A way's number: the device's time where it is known, else the call's."""
    if "value" in values:
        return f"{values['value']:.3g}"
    times = values.get("replay") or values.get("call")
    return f"{times[0]:.3f} ms" if times else ""
