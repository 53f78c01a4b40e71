"""Training steps per second by how threads wait for each other, alone and beside another busy process.

    python benchmarks/waiting.py [--seconds N] [--rounds N]

KIT-ML's model, 40 frames, 12 words, frame scoring, one thread per core: a step in which threads meet often. Every
setting of libgomp's variables and the package's own default (m2t_fast/threads.py), each in a process of its own, one
after the other, in N rounds; medians. Written to benchmarks/results/waiting_cpu.json, from which tables.py makes the
table of docs/kernels-cpu.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results" / "waiting_cpu.json"
SETTINGS: dict[str, dict[str, str]] = {
    "the default of m2t_fast": {},
    "GOMP_SPINCOUNT=300000, libgomp's own": {"GOMP_SPINCOUNT": "300000"},
    "GOMP_SPINCOUNT=20000": {"GOMP_SPINCOUNT": "20000"},
    "GOMP_SPINCOUNT=5000": {"GOMP_SPINCOUNT": "5000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}
COMPANY = (0, 1)
"""Busy processes beside the steps."""

STEPS = """
import dataclasses, sys, time
import m2t_fast, torch
from m2t_fast.benchmarking.cases import case_of
from m2t_fast.benchmarking.sizes import SIZES

size = dataclasses.replace(SIZES["kit"], frames=40, words=12)
step = case_of("training_step", size, "frame", torch.device("cpu"), True).prepare("cpu")
for _ in range(5):
    step()
done, started = 0, time.perf_counter()
while time.perf_counter() - started < float(sys.argv[1]):
    step()
    done += 1
print(done / (time.perf_counter() - started))
"""


def environment(setting: dict[str, str]) -> dict[str, str]:
    """This process's, with nothing but the setting to say how threads wait."""
    rest = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    return {**rest, **setting}


@contextlib.contextmanager
def company(count: int) -> Iterator[None]:
    """This number of busy processes."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def steps_per_second(setting: dict[str, str], others: int, seconds: float) -> float:
    """Measured in a process of its own."""
    command = [sys.executable, "-c", STEPS, str(seconds)]
    with company(others):
        shown = subprocess.run(command, env=environment(setting), stdout=subprocess.PIPE, text=True, check=True).stdout
    return round(float(shown), 2)


def measure(seconds: float, rounds: int) -> list[dict[str, Any]]:
    """A row for every setting and number of busy processes: steps per second, a value for every round."""
    rows = [{"setting": name, "beside": others, "steps_per_second": []} for others in COMPANY for name in SETTINGS]
    for _ in range(rounds):
        for row in rows:
            row["steps_per_second"].append(steps_per_second(SETTINGS[row["setting"]], row["beside"], seconds))
            print(f"{row['setting']}, {row['beside']} beside: {row['steps_per_second'][-1]:.2f}", flush=True)
    return rows


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=7.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    import m2t_fast  # noqa: F401 - before torch: it decides how threads wait

    # isort: split
    import torch

    from m2t_fast.benchmarking.ratio_tables import load, machine
    from m2t_fast.files import write_text

    found = machine(torch.device("cpu"))
    rows = measure(arguments.seconds, arguments.rounds)
    record = {"machine": {**found, "load_after": load()}, "seconds": arguments.seconds, "rows": rows}
    write_text(RESULTS, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
