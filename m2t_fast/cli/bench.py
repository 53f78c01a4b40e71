"""``m2t-fast bench``: every op, the training step and decoding in every implementation, ratios first."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options
from m2t_fast.errors import UserError
from m2t_fast.wording import be, counted

if TYPE_CHECKING:
    import torch

# Written out again, because these modules import torch and --help must not wait for it; a test compares them.
SIZES = ("kit", "humanml3d", "large", "tiny")
CASES = (
    *("spatio_temporal_attention", "gated_decoder_step", "part_encoder", "attention_keys", "spatial_loss"),
    "additive_attention",
    *("training_step", "greedy", "beam"),
)


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure time and memory of every op, the training step and decoding, backends side by side",
        description="Computes every op, the training step and decoding step by step as released (loop), in plain "
        "PyTorch (plain), under torch.compile (compile) and on every backend, and prints how many times faster each is "
        "than the first three: medians of interleaved runs, peak memory, how far each is from the floor that the "
        "processor sets (bare loops of multiply-adds and tanh, copies), and the attention's tanh rate. Every result "
        "is compared with the reference first; one that is wrong is not timed, and the "
        "exit code is 1. The default takes about ten minutes on one core, a third of it compiling (--no-compile); "
        "--sizes humanml3d takes four times as long.",
    )
    parser.add_argument(
        "--sizes", nargs="+", choices=SIZES, default=["kit"], help="sizes of model and batch; large is for GPUs (kit)"
    )
    parser.add_argument("--ops", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES))
    parser.add_argument(
        "--scoring", nargs="+", choices=("part", "frame"), default=["part"], help="scoring modes of attention (part)"
    )
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="loop, plain, compile or a backend (all)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument(
        "--no-memory", action="store_true", help="do not measure memory (each takes a process of its own)"
    )
    parser.add_argument(
        "--runs",
        type=options.bounded("runs"),
        default=3,
        metavar="N",
        help="runs of each, more of short ones (%(default)s)",
    )
    parser.add_argument(
        "--threads", type=options.bounded("threads"), metavar="N", help="CPU threads (as many as torch uses)"
    )
    options.add_device(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document with machine, settings and rows")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.benchmarking import SIZES, Options, Row, bench, floor
    from m2t_fast.benchmarking.ratio_tables import (
        document,
        load,
        machine,
        machine_line,
        overload,
        rates_line,
        table,
    )

    device = options.device(args.device)
    ways = _ways(args, device)
    wanted = Options(
        device, _unique(args.sizes), _unique(args.ops), _unique(args.scoring), ways, args.runs, not args.no_memory
    )
    rows: list[Row] = []
    with _threads(args.threads):
        found = machine(device)
        rates = floor.measure(device)
        wanted = wanted._replace(rates=rates)
        found["rates"] = None if rates is None else rates._asdict()
        if not args.json:
            print(machine_line(found))
            for size in wanted.sizes:
                print(SIZES[size].describe())
            if rates is not None:
                print(rates_line(rates))
        for of_case in bench(wanted):
            rows += of_case
            if not args.json:
                print(f"\n{table(of_case)}", flush=True)
    found["load_after"] = load()
    found["warning"] = overload(found)
    failed = [row for row in rows if not row.passed]
    if args.json:
        settings = {name: value for name, value in wanted._asdict().items() if name != "rates"}
        settings["device"] = str(device)
        print(json.dumps(document(found, settings, rows), indent=1))
        return 1 if failed else 0
    if found["warning"]:
        print(f"\nnote: {found['warning']}")
    if failed:
        wrong = f"{len(failed)} of {counted(len(rows), 'result')} {be(len(failed))} wrong"
        print(f"\n{wrong}: no time and no ratio is given for {'it' if len(failed) == 1 else 'them'}")
    return 1 if failed else 0


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _ways(args: argparse.Namespace, device: torch.device) -> list[str]:
    """The ways asked for, in the order of the table.

    Raises:
        UserError: no such way here.
    """
    from m2t_fast.benchmarking import ways_on
    from m2t_fast.ops import registry

    possible = ways_on(device)
    for way in args.ways or ():
        if way in possible:
            continue
        if way in registry.BACKENDS:
            with options.backend(way, device):  # tells why not
                pass
        raise UserError(f"--ways: got {way!r}, expected one of {', '.join(possible)}")
    ways = [way for way in possible if args.ways is None or way in args.ways]
    if args.no_compile:
        ways = [way for way in ways if way != "compile"]
    if not ways:
        raise UserError("--no-compile: it leaves nothing of --ways compile")
    return ways


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Inside the block torch and the kernels use this many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
