"""What was measured: as a table with the ratios first, and as JSON."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from m2t_fast import native, threads
from m2t_fast._version import __version__
from m2t_fast.benchmarking.case import BASELINES
from m2t_fast.benchmarking.floor import Rates
from m2t_fast.benchmarking.run import Row
from m2t_fast.wording import counted

_STATUS = {"ok": "", "wrong": "WRONG: ", "failed": "FAILED: ", "skipped": "skipped: "}


def machine(device: torch.device) -> dict[str, Any]:
    """What a time depends on beside the code."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "instruction_sets": list(native.build_info().get("cpu", [])),
        "threads": torch.get_num_threads(),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "waiting_threads": threads.wait_policy(),
        "load": load(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "m2t_fast": __version__,
        **checkout(),
    }


def load() -> float | None:
    """Processes that wanted a core in the last minute, on average; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def overload(found: dict[str, Any]) -> str | None:
    """A warning where other work shared the cores: more processes than cores before or after the measurement."""
    cores = len(found["cores"]) or os.cpu_count() or 1
    most = max((x for x in (found["load"], found.get("load_after")) if x is not None), default=0.0)
    if most <= cores:
        return None
    return f"the load was {most:g} on {cores} core{'s' * (cores > 1)}: times are those of a shared machine"


def checkout() -> dict[str, Any]:
    """The commit that runs, and whether files other than documents and results differ from it; None where the package
    is no checkout."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(root), *arguments]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return result.stdout.strip() if result.returncode == 0 else None

    if not (root / ".git").exists() or (commit := git("rev-parse", "HEAD")) is None:
        return {"commit": None, "dirty": None}
    written = (":(top,exclude)benchmarks/results", ":(top,exclude)docs", ":(top,exclude)*.md")  # by benchmarks/cpu.py
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no", "--", ".", *written))}


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
    count = counted(found["threads"], "thread")
    commit = f" at {found['commit'][:9]}{' with changes' if found['dirty'] else ''}" if found["commit"] else ""
    versions = f"torch {found['torch']}, m2t_fast {found['m2t_fast']}{commit}"
    waiting = f"waiting: {found['waiting_threads']}"
    return f"{device}{found['processor']}, {count}, {versions}, {waiting}, load {found['load']}, {found['date']}"


def rates_line(rates: Rates) -> str:
    """What bare loops reach."""
    return (
        f"bare loops: {rates.flops / 1e9:.0f} GFLOP/s, {rates.tanh:.2e} tanh/s, copies {rates.bytes / 1e9:.1f} GB/s; "
        "a floor is the time that the operations need at these rates"
    )


def table(rows: list[Row]) -> str:
    """The rows of one case as lines; what a ratio is to stands above it."""
    baselines = [name for name in BASELINES if any(name in row.ratios for row in rows)]
    memory = any(row.peak_bytes is not None for row in rows)
    rate = any(row.tanh_per_second is not None for row in rows)
    header = [*(f"to {name}" for name in baselines), "median", "p20 to p80"]
    floor = any(row.floor is not None for row in rows)
    header += ["to floor"] * floor + ["peak memory"] * memory + ["tanh/s (of bare loop)"] * rate
    lines, notes = [[*header, "way"]], []
    for row in rows:
        if row.reason is not None:
            notes.append(f"  {row.way}: {_STATUS[row.status]}{row.reason}")
        if row.median is None:
            continue
        cells = [_ratio(row.ratios.get(name)) for name in baselines]
        cells += [_time(row.median), f"{_time(row.p20)} to {_time(row.p80)}"]
        cells += [_to_floor(row)] * floor
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


def _to_floor(row: Row) -> str:
    """How many times the floor the median takes."""
    return "" if row.floor is None or row.median is None else f"{row.median / row.floor:.2f}x"


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
