"""``m2t-fast sweep``: trains and scores a grid of loss weights (the paper's table 6), resumable, several at a time."""

from __future__ import annotations

import argparse
import itertools
import queue
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options
from m2t_fast.cli import train as training
from m2t_fast.errors import UserError

if TYPE_CHECKING:
    from m2t_fast.training.sweep import Outcome, Point

_PROGRAM = "m2t-fast"
SOME_FAILED = 3
"""Exit code: a table was made, but not of every pair."""


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "sweep",
        help="train and score a grid of loss weights",
        description="Trains a run for each pair of loss weights of the paper's table 6, or of --lambda-spat and "
        "--lambda-adapt, scores it, and writes a table. The same command resumes after any interruption. Needs Optuna.",
    )
    options.add_data(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of the study and its runs")
    parser.add_argument("--grid", choices=("kit", "humanml3d"), help="whose rows of table 6 (those of --preset)")
    for name in ("spat", "adapt"):
        parser.add_argument(
            f"--lambda-{name}",
            type=options.numbers,
            metavar="X,Y,...",
            help="in place of the grid: every pair of these",
        )
    parser.add_argument(
        "--lambda-temp",
        type=options.number(0.0),
        metavar="X",
        help="weight of the temporal loss, the same in every run (0: none)",
    )
    parser.add_argument(
        "--trials", type=options.bounded("trials"), default=0, metavar="N", help="more pairs, chosen by Optuna (0)"
    )
    parser.add_argument(
        "--workers",
        type=options.bounded("workers"),
        default=1,
        metavar="N",
        help="runs trained at a time (%(default)s)",
    )
    parser.add_argument("--split", choices=("val", "test"), default="test", help="split of the table (%(default)s)")
    parser.add_argument("--text", choices=("raw", "processed"), default="raw", help="as for evaluate (%(default)s)")
    parser.add_argument("--bert-model", type=Path, metavar="FOLDER", help="as for evaluate: add BERTScore")
    parser.add_argument(
        "--beam-size",
        type=options.bounded("beam-size"),
        default=1,
        metavar="K",
        help="of the table's scores (%(default)s)",
    )
    group = parser.add_argument_group("training, as for train")
    training.add_training(group)
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast import distributed
    from m2t_fast.locks import LOCK, locked_folder
    from m2t_fast.signals import stop_on_signals
    from m2t_fast.training.sweep import Sweep, train_and_score, why_unavailable

    if (reason := why_unavailable()) is not None:
        raise UserError(f"sweep: {reason}")
    if distributed.launched().size > 1:
        raise UserError("sweep: started by torchrun; expected one process, which has --workers of its own")
    points = _points(args)
    devices = _devices(args)
    with options.backend(args.backend, options.device(args.device)):
        pass  # tells now what every training would
    train_options = ["--data", args.data, *training.training_of(args)]
    if args.lambda_temp is not None:
        train_options += ["--lambda-temp", repr(args.lambda_temp)]
    score_options = [
        "--data",
        args.data,
        "--split",
        args.split,
        "--text",
        args.text,
        "--beam-size",
        str(args.beam_size),
    ]
    if args.bert_model is not None:
        score_options += ["--bert-model", str(args.bert_model)]
    if args.strict:
        train_options, score_options = [*train_options, "--strict"], [*score_options, "--strict"]
    backend = [] if args.backend is None else ["--backend", args.backend]

    def work(point: Point, stop: threading.Event) -> Outcome:
        device = devices.get()
        try:
            place = ["--device", device, *backend]
            return train_and_score(args.output, [*train_options, *place], [*score_options, *place], point, stop)
        finally:
            devices.put(device)

    _refuse_foreign(args.output)
    stop = threading.Event()
    with locked_folder(args.output), stop_on_signals(stop):
        try:
            _refuse_foreign(args.output)  # what another process has made of it since
        except UserError:
            (args.output / LOCK).unlink()
            raise
        sweep = Sweep(args.output, {"train": train_options, "evaluate": score_options}, args.seed or 0)
        waiting = sweep.enqueue(points)
        extra = max(0, args.trials - sweep.chosen(points))
        failed = sweep.run(work, len(waiting) + extra, args.workers, stop, _say)
        if stop.is_set():
            _say("stopped; the same command resumes it")
            return 130
        sweep.write_table()
        table = sweep.table()
    if table is None:
        raise UserError(f"{args.output}: every pair failed; the first: {next(iter(failed.values()))}")
    print(table.plain())
    best, value = sweep.best
    print(f"best validation BLEU-4 {value:.2f}: {args.output / best.name}")
    for point, why in failed.items():
        _say(f"failed: {point.name}: {why}")
    return SOME_FAILED if failed else 0


def _points(args: argparse.Namespace) -> list[Point]:
    """The pairs to train."""
    from m2t_fast.training.sweep import GRIDS, Point

    given = {name: getattr(args, f"lambda_{name}") for name in ("spat", "adapt")}
    if all(values is None for values in given.values()):
        grid = args.grid or args.preset
        if grid is None:
            raise UserError(
                "sweep: no grid; expected --grid or --preset kit or humanml3d, or --lambda-spat and --lambda-adapt"
            )
        return list(GRIDS[grid])
    for name, values in given.items():
        if values is None:
            raise UserError(f"--lambda-{name}: is missing; expected --lambda-spat and --lambda-adapt together")
    if args.grid is not None:
        raise UserError("--grid: not with --lambda-spat and --lambda-adapt, which are a grid of their own")
    return [Point(*pair) for pair in itertools.product(given["spat"], given["adapt"])]


def _devices(args: argparse.Namespace) -> queue.SimpleQueue[str]:
    """One device per worker; CUDA devices in turn."""
    import torch

    device = options.device(args.device)
    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    for worker in range(args.workers):
        several = device.type == "cuda" and ":" not in args.device
        names.put(f"cuda:{worker % torch.cuda.device_count()}" if several else str(device))
    return names


def _refuse_foreign(folder: Path) -> None:
    """A sweep that is just beginning, or was killed then, has no more than its lock."""
    from m2t_fast.locks import LOCK
    from m2t_fast.training.sweep import JOURNAL

    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
    if JOURNAL not in names and not names <= {LOCK}:
        raise UserError(f"{folder}: exists and holds no sweep; expected a new folder or that of a sweep")


def _say(text: str) -> None:
    print(f"{_PROGRAM}: {' '.join(text.split())}", file=sys.stderr, flush=True)
