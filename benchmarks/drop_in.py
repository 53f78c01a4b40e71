"""Seconds of a module of the released structure, plain and accelerated, on one thread.

    python benchmarks/drop_in.py

A training step, greedy captions and the released search at both data sets' sizes, as bench_drop_in.py has them, which
compares the results first. The plain module runs once more, the accelerated one three times, of which the best counts.
Written to benchmarks/results/drop_in_cpu.json; `python benchmarks/tables.py` makes the table of docs/released.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import m2t_fast  # noqa: F401 - before torch: it decides how threads wait

# isort: split
import gpu_results
import torch
from bench_drop_in import WORK, checked_runs

from m2t_fast.benchmarking.ratio_tables import load, machine, overload
from m2t_fast.files import write_text

SIZES = ("kit", "humanml3d")


def seconds(run: Callable[[], object]) -> float:
    """Of one run."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    where = machine(torch.device("cpu"))
    rows: list[dict[str, Any]] = []
    for work in WORK:
        for size in SIZES:
            plain, accelerated = checked_runs(size, work)
            row = {"work": work, "size": size, "plain": seconds(plain)}
            rows.append({**row, "accelerated": min(seconds(accelerated) for _ in range(3))})
            print(rows[-1], flush=True)
    where["load_after"] = load()
    where["warning"] = overload(where)
    path = gpu_results.folder() / "drop_in_cpu.json"
    write_text(path, json.dumps({"machine": where, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
