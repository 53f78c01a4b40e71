"""Seconds of an epoch and samples a second: the trainer beside step by step, plain PyTorch and torch.compile.

    python benchmarks/train.py [--device cpu|cuda] [--data kit,humanml3d] [--dtype float32,bf16]
                               [--ways loop,plain,compile] [--budget SECONDS] [--full] [--no-write]

Random data of table 4's sizes (m2t_fast/benchmarking/paper_data.py), the paper's models and settings. Of every bucket
of the epoch's plan one batch is timed, the ways taking turns, and an epoch is the medians times the batches of each
bucket: an extrapolation. Ours is timed in all buckets, the others in the commonest ones as far as --budget seconds for
each data set go; elsewhere they are taken to be as many times slower. --full also runs whole epochs of ours, or of
--full-ways, and gives their wall time. Writes benchmarks/results/train_DEVICE.json and the device's table of
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from m2t_fast.benchmarking.case import BASELINES, PLAIN
from m2t_fast.benchmarking.epochs import OURS, WAYS, Epoch
from m2t_fast.benchmarking.paper_data import PAPER
from m2t_fast.benchmarking.ratio_tables import machine, machine_line
from m2t_fast.cli import options
from m2t_fast.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def measure(name: str, dtype: torch.dtype, device: torch.device, args: argparse.Namespace) -> dict[str, Any]:
    """One data set in one dtype, on one device."""
    epoch = Epoch(name, device, args.scoring, dtype)
    # In the second dtype a look at plain is enough, unless more is asked for.
    ways = args.ways or ([PLAIN] if dtype == torch.bfloat16 else list(BASELINES))
    epoch.measure([way for way in ways if way != OURS], args.budget, args.rounds)
    found = epoch.document()
    found["seconds_validation"] = epoch.measure_validation()
    found["seconds_full"] = {way: epoch.measure_full(way) for way in args.full_ways} if args.full else {}
    found["epochs"] = (TrainingSettings.humanml3d() if name == "humanml3d" else TrainingSettings.kit()).epochs
    print("\n".join(rows_of(found)), flush=True)
    return found


def rows_of(found: dict[str, Any]) -> list[str]:
    """The table's rows of one data set."""
    lines, ours = [], found["ways"][OURS]["seconds_epoch"]
    for way in WAYS:
        if way not in found["ways"]:
            if way in found["notes"]:
                lines.append(f"| {found['data']} | {found['dtype']} | {way} | {found['notes'][way]} | | | | | |")
            continue
        row, full = found["ways"][way], found["seconds_full"].get(way)
        cells = [found["data"], found["dtype"], way, f"{row['samples_per_second']:,.0f}"]
        cells += [_seconds(row["seconds_epoch"]), "" if full is None else _seconds(full)]
        cells.append(f"{row['buckets_timed']} of {len(found['buckets'])}")
        cells.append("" if way == OURS else f"{row['seconds_epoch'] / ours:.1f}x")
        total = found["epochs"] * (row["seconds_epoch"] + found["seconds_validation"])
        cells.append(f"{_seconds(total)} ({found['epochs']} epochs)" if way == OURS else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _seconds(value: float) -> str:
    if value >= 7200:
        return f"{value / 3600:,.1f} h"
    return f"{value / 60:.1f} min" if value >= 120 else f"{value:.3g} s"


def table(result: dict[str, Any]) -> str:
    """The Markdown table."""
    lines = [
        machine_line(result["machine"]) + ".",
        "",
        "| data | dtype | way | samples/s | epoch (extrapolated) | epoch (run whole) | buckets timed | ours is faster "
        "| whole run |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *(line for found in result["data"] for line in rows_of(found))])


def write(result: dict[str, Any], device: torch.device) -> None:
    """The numbers to benchmarks/results/, the table between the device's marks in the document."""
    name = re.sub(r"[^a-z0-9]+", "_", str(result["machine"]["device"]).lower()).strip("_")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"train_{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    begin, end = (f"<!-- {mark}training table, {device.type} -->" for mark in ("", "end of "))
    head, rest = DOCUMENT.read_text().split(begin)
    tail = rest.split(end)[1]
    DOCUMENT.write_text(f"{head}{begin}\n{table(result)}\n{end}{tail}")
    print(f"wrote {path} and the table of {DOCUMENT}")


def _names(known: Sequence[str]) -> Any:
    def names(text: str) -> list[str]:
        for name in (found := text.split(",")):
            if name not in known:
                raise argparse.ArgumentTypeError(f"got {name!r}, expected some of {', '.join(known)}")
        return found

    return names


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=_names(list(PAPER)), default=["kit", "humanml3d"])
    parser.add_argument("--ways", type=_names(list(WAYS)), help="all, in bf16 plain alone")
    parser.add_argument("--scoring", choices=("part", "frame"), default="part")
    parser.add_argument("--dtype", type=_names(["float32", "bf16"]), help="float32, on a GPU also mixed precision")
    parser.add_argument("--rounds", type=options.positive_int, default=3)
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for the other ways, for each data set")
    parser.add_argument("--full", action="store_true", help="run whole epochs, too")
    parser.add_argument("--full-ways", type=_names(list(WAYS)), default=[OURS], help="whose")
    parser.add_argument("--no-write", action="store_true", help="print alone")
    args = parser.parse_args(argv)
    device = options.device(args.device)
    names = args.dtype or ["float32", "bf16"][: 1 + (device.type == "cuda")]
    dtypes = [getattr(torch, options.training_dtype(name)) for name in names]
    data = [measure(name, dtype, device, args) for name in args.data for dtype in dtypes]
    result = {"machine": machine(device), "ways": WAYS, "data": data}
    print(table(result))
    if not args.no_write:
        write(result, device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
