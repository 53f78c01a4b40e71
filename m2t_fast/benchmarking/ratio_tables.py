"""What was measured: as a table with the ratios first, and as JSON."""

from __future__ import annotations

import datetime
import platform
import re
from pathlib import Path
from typing import Any

import torch

from m2t_fast import native
from m2t_fast._version import __version__
from m2t_fast.benchmarking.case import BASELINES
from m2t_fast.benchmarking.run import Row

_STATUS = {"ok": "", "wrong": "WRONG: ", "failed": "FAILED: ", "skipped": "skipped: "}


def machine(device: torch.device) -> dict[str, Any]:
    """What a time depends on beside the code."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "instruction_sets": list(native.build_info().get("cpu", [])),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "m2t_fast": __version__,
    }


def _processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def machine_line(found: dict[str, Any]) -> str:
    """The same in one line."""
    device = "" if found["device"] == "cpu" else f"{found['device']}, "
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    versions = f"torch {found['torch']}, m2t_fast {found['m2t_fast']}"
    return f"{device}{found['processor']}, {threads}, {versions}, {found['date']}"


def table(rows: list[Row]) -> str:
    """The rows of one case as lines; what a ratio is to stands above it."""
    baselines = [name for name in BASELINES if any(name in row.ratios for row in rows)]
    memory = any(row.peak_bytes is not None for row in rows)
    rate = any(row.tanh_per_second is not None for row in rows)
    header = [*(f"to {name}" for name in baselines), "median", "p20 to p80"]
    header += ["peak memory"] * memory + ["tanh/s (of bare loop)"] * rate
    lines, notes = [[*header, "way"]], []
    for row in rows:
        if row.reason is not None:
            notes.append(f"  {row.way}: {_STATUS[row.status]}{row.reason}")
        if row.median is None:
            continue
        cells = [_ratio(row.ratios.get(name)) for name in baselines]
        cells += [_time(row.median), f"{_time(row.p20)} to {_time(row.p80)}"]
        cells += [_bytes(row.peak_bytes)] * memory + [_rate(row)] * rate
        lines.append([*cells, row.way])
    text = [f"{row.size}: {row.title}" for row in rows[:1]]
    if len(lines) > 1:
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            right = [cell.rjust(width) for cell, width in zip(line[:-1], widths[:-1], strict=True)]
            text.append(f"  {'  '.join(right)}  {line[-1]}")
    return "\n".join([*text, *notes])


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}x"


def _time(seconds: float | None) -> str:
    assert seconds is not None
    return (
        f"{seconds:.2f} s"
        if seconds >= 1
        else f"{seconds * 1e3:.4g} ms"
        if seconds >= 1e-3
        else f"{seconds * 1e6:.3g} us"
    )


def _bytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:,.0f} MiB"


def _rate(row: Row) -> str:
    if row.tanh_per_second is None:
        return ""
    share = f" ({row.tanh_per_second / row.tanh_ceiling:.0%})" if row.tanh_ceiling else ""
    return f"{row.tanh_per_second:.2e}{share}"


def document(found: dict[str, Any], settings: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """Everything as one JSON-ready dictionary."""
    return {
        "machine": found,
        "settings": settings,
        "baselines": BASELINES,
        "rows": [row._asdict() for row in rows],
        "passed": all(row.passed for row in rows),
    }
