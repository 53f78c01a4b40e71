"""Seconds of an epoch and samples per second: the trainer beside step by step, plain PyTorch and torch.compile.

    python benchmarks/train.py [--device cpu|cuda] [--data kit,humanml3d] [--dtype float32,bf16]
                               [--ways loop,plain,compile] [--budget SECONDS] [--full] [--no-write] [--no-table]

Random data of table 4's sizes (m2t_fast/benchmarking/paper_data.py), the paper's models and settings. Of every bucket
of the epoch's plan one batch is timed, alternating between implementations, and an epoch is the medians times the
batches of each bucket: an extrapolation. Ours is timed in all buckets, the others in the commonest ones as far as
--budget seconds for each data set go; untimed buckets are extrapolated from the timed ones. --full also runs whole
epochs of ours, or of --full-ways, and gives their wall time. Every data set and dtype is merged into
benchmarks/results/train_DEVICE.json as soon as it is measured, so a failure loses nothing else;
`python benchmarks/tables.py` makes the document's tables.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import m2t_fast  # noqa: F401 - before torch: it decides how threads wait

# isort: split
import gpu_part
import gpu_results
import tables
import torch
from gpu_cells import describe

from m2t_fast.benchmarking.case import BASELINES, PLAIN
from m2t_fast.benchmarking.epochs import OURS, WAYS, Epoch
from m2t_fast.benchmarking.paper_data import PAPER
from m2t_fast.benchmarking.ratio_tables import load, machine, overload
from m2t_fast.cli import options
from m2t_fast.training.settings import TrainingSettings


def measure(
    name: str,
    dtype: torch.dtype,
    device: torch.device,
    args: argparse.Namespace,
    save: Callable[[dict[str, Any]], None],
) -> bool:
    """One data set in one dtype, saved when its steps are timed and again with what is asked for beside them; whether
    nothing failed."""
    epoch = Epoch(name, device, args.scoring, dtype)
    # In the second dtype a look at plain is enough, unless more is asked for.
    ways = args.ways or ([PLAIN] if dtype == torch.bfloat16 else list(BASELINES))
    epoch.measure([way for way in ways if way != OURS], args.budget, args.rounds)
    found = epoch.document()
    found["epochs"] = (TrainingSettings.humanml3d() if name == "humanml3d" else TrainingSettings.kit()).epochs
    found["seconds_full"] = {}
    save(found)
    well = OURS in found["ways"]
    try:
        found["seconds_validation"] = epoch.measure_validation()
    except Exception as error:  # a package that is missing must not cost the steps
        found["notes"]["validation"] = describe(error)
        well = False
    if args.full:
        found["seconds_full"] = {way: epoch.measure_full(way) for way in args.full_ways}
    save(found)
    print("\n".join(tables.training_rows(found)), flush=True)
    return well


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
    parser.add_argument("--no-table", action="store_true", help="leave the document as it is")
    args = parser.parse_args(argv)
    rehearsal = bool(os.environ.get(gpu_part.REHEARSAL))
    device = torch.device(gpu_part.find().where) if rehearsal else options.device(args.device)
    where = {**machine(device), **({"device": gpu_part.find().name} if rehearsal else {})}
    path = gpu_results.folder() / f"train_{gpu_results.file_name(where['device'])}"

    def save(found: dict[str, Any]) -> None:
        where["load_after"] = load()
        where["warning"] = overload(where)
        if not args.no_write:
            gpu_results.merge_training(path, {"machine": where, "ways": WAYS, "data": [{**found, "machine": where}]})

    names = args.dtype or ["float32", "bf16"][: 1 + (device.type == "cuda")]
    well = True
    for name in ["tiny"] if rehearsal else args.data:
        for dtype in names:
            try:
                well &= measure(name, getattr(torch, options.training_dtype(dtype)), device, args, save)
            except Exception as error:  # one part's failure must not cost the others their numbers
                well = False
                print(f"{name}, {dtype}: {describe(error)}", file=sys.stderr, flush=True)
    if not args.no_write and not args.no_table:
        tables.write()
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
