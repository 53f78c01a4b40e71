"""Time and memory of a training step against the length of motions and the size of a batch: plain PyTorch and ours.

    python benchmarks/lengths.py [--rounds N]

KIT-ML's model, part scoring, captions of 23 words, motions of a fifth of the length to all of it. Seconds of processor
time on one thread, the least of N interleaved steps; memory is what a step holds at most, each in a process of its own.
Written to benchmarks/results/lengths_cpu.json, from which docs/plots.py draws.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import m2t_fast  # noqa: F401 - before torch: it decides how threads wait

# isort: split
import torch

from m2t_fast.benchmarking.case import PLAIN
from m2t_fast.benchmarking.cases import case_of
from m2t_fast.benchmarking.memory import peak_growth
from m2t_fast.benchmarking.ratio_tables import load, machine, overload
from m2t_fast.benchmarking.sizes import SIZES, Size
from m2t_fast.files import write_text

RESULTS = Path(__file__).resolve().parent / "results" / "lengths_cpu.json"
WAYS = (PLAIN, "cpu")
CASE, SCORING, CPU = "training_step", "part", torch.device("cpu")
FRAMES, BATCH = (25, 50, 100, 200, 400), (4, 8, 16, 32, 64)
AT_FRAMES, AT_BATCH = 100, 16
"""What the other axis is held at."""


def sizes() -> list[tuple[str, int, Size]]:
    """(axis, its value, the size) of every point."""
    kit = SIZES["kit"]
    along_frames = [("frames", t, dataclasses.replace(kit, batch=AT_BATCH, frames=t)) for t in FRAMES]
    return along_frames + [("batch", b, dataclasses.replace(kit, batch=b, frames=AT_FRAMES)) for b in BATCH]


def peak(size: Size, way: str) -> int:
    """Bytes that a step holds at most beyond model and batch; in the process that is asked."""
    torch.set_num_threads(1)
    case_of(CASE, SIZES["tiny"], SCORING, CPU, True).prepare(way)()  # loads what is loaded on first use
    return peak_growth(case_of(CASE, size, SCORING, CPU, True).prepare(way), CPU)


def measure(rounds: int) -> list[dict[str, Any]]:
    """A row for every point and way."""
    rows = []
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["m2t_fast.benchmarking.memory"])
    for axis, value, size in sizes():
        case = case_of(CASE, size, SCORING, CPU, True)
        runs = {way: case.prepare(way) for way in WAYS}
        least = dict.fromkeys(WAYS, float("inf"))
        for run in runs.values():
            run()
        for _ in range(rounds):
            for way, run in runs.items():
                started = time.process_time()
                run()
                least[way] = min(least[way], time.process_time() - started)
        for way in WAYS:
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                held = pool.submit(peak, size, way).result()
            rows.append({"axis": axis, "value": value, "way": way, "processor": least[way], "peak_bytes": held})
            print(f"{axis} {value}, {way}: {1e3 * least[way]:.1f} ms, {held / 2**20:.0f} MiB", flush=True)
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    where = machine(CPU)
    rows = measure(args.rounds)
    where["load_after"] = load()
    where["warning"] = overload(where)
    held = {"frames": AT_FRAMES, "batch": AT_BATCH}
    write_text(RESULTS, json.dumps({"machine": where, "held": held, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
