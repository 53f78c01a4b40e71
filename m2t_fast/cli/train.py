"""``m2t-fast train``: train a captioner and write its run folder."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options, train_setup
from m2t_fast.cli.train_setup import LIMITS, OPTIONS
from m2t_fast.errors import JobError, UserError
from m2t_fast.training.logs import LOGS
from m2t_fast.training.recommended import LARGE
from m2t_fast.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from m2t_fast.distributed import Processes
    from m2t_fast.run_folder import Run

_BEGUN = "train"
PROGRAM = "m2t-fast"


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a captioner and write its run folder",
        description="Train a captioner and write its run folder. Without --preset, sizes and hyper-parameters follow "
        "the number of training samples (what is chosen is printed) and every motion is used; with it, they are the "
        "paper's, whose filters apply too.",
    )
    options.add_data(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="the run folder to write")
    parser.add_argument(
        "--lambda-spat", type=options.number(0.0), help=_usual("weight of the spatial attention loss", "lambda_spat")
    )
    parser.add_argument(
        "--lambda-adapt", type=options.number(0.0), help=_usual("weight of the adaptive gate loss", "lambda_adapt")
    )
    parser.add_argument(
        "--lambda-temp",
        type=options.number(0.0),
        metavar="X",
        help="weight of the temporal loss: it pulls the window of each word that names a segment of segments.json to "
        "the time of that segment (0: none)",
    )
    add_training(parser)
    parser.add_argument(
        "--segment-takes",
        type=options.whole_number(0, 10_000),
        default=60,
        metavar="N",
        help="joined takes from which the run learns at the end where segments of long takes end, if the data say when "
        "actions happen (docs/long-takes.md); 0: leave that out (%(default)s)",
    )
    parser.add_argument(
        "--init",
        type=Path,
        metavar="RUN",
        help="fine-tune this run: begin with its weights, keep its sizes, words and statistics, add the new words of "
        "the data; the learning rate is lower and warms up (docs/training.md)",
    )
    parser.add_argument(
        "--log", choices=LOGS, help="also write the content of metrics.jsonl there (needs the extra of that name)"
    )
    parser.add_argument("--resume", action="store_true", help="resume the run in --output, or start it")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no line per epoch")
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def _usual(what: str, name: str, small: str | None = None) -> str:
    """The help of an option of ``TrainingSettings`` with its defaults."""
    kit, humanml3d = (getattr(preset(), name) for preset in (TrainingSettings.kit, TrainingSettings.humanml3d))
    if name in ("lambda_spat", "lambda_adapt"):
        own = f"{kit:g}; --preset humanml3d: {humanml3d:g}" if kit != humanml3d else f"{kit:g}"
    elif kit == humanml3d:
        own = f"{kit:g}"
    else:
        large = f"from {LARGE:,} training samples on and with --preset humanml3d: {humanml3d:g}"
        own = f"{small or format(kit, 'g')}; {large}"
    return f"{what} ({own})"


def add_training(parser: argparse.ArgumentParser) -> None:
    """The training options, without the weights of the losses."""
    parser.add_argument("--preset", choices=("kit", "humanml3d"), help="the paper's settings for this data set")
    parser.add_argument(
        "--scoring", choices=("part", "frame"), help="part: attention of the paper; frame: of its released code (part)"
    )
    parser.add_argument(
        "--epochs",
        type=options.bounded("epochs"),
        metavar="N",
        help=_usual("passes over the training samples; the weights with the best validation BLEU-4 are kept", "epochs"),
    )
    parser.add_argument(
        "--batch-size",
        type=options.bounded("batch-size"),
        metavar="N",
        help=_usual("samples per step", "batch_size", small="64, halved down to 8 for ten steps per epoch"),
    )
    parser.add_argument(
        "--teacher-forcing",
        type=options.number(0.0, 1.0),
        metavar="P",
        help=_usual("probability that a step reads the reference word", "teacher_forcing"),
    )
    parser.add_argument(
        "--learning-rate",
        type=options.number(0.0, above=True),
        metavar="X",
        help=_usual("learning rate of AdamW", "learning_rate"),
    )
    parser.add_argument(
        "--warmup-steps",
        type=options.bounded("warmup-steps"),
        metavar="N",
        help=_usual("steps over which the learning rate rises to its full value", "warmup_steps"),
    )
    parser.add_argument(
        "--seed", type=options.bounded("seed"), metavar="N", help=_usual("seed of all random numbers", "seed")
    )
    parser.add_argument(
        "--dtype",
        type=options.training_dtype,
        metavar="DTYPE",
        help="float32, float64, or bf16: mixed precision with float32 weights (float32)",
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="torch.compile the forward and backward pass; may change when resuming (--no-compile)",
    )
    parser.add_argument(
        "--min-frames",
        type=options.positive_int,
        metavar="N",
        help="drop motions with fewer frames, counted before downsampling (no limit; humanml3d: 40)",
    )
    parser.add_argument(
        "--max-frames",
        type=options.positive_int,
        metavar="N",
        help="drop motions with more frames, counted before downsampling (no limit; humanml3d: 200)",
    )
    parser.add_argument(
        "--max-tokens",
        type=options.positive_int,
        metavar="N",
        help="drop captions with more words (no limit; humanml3d: 20)",
    )
    parser.add_argument(
        "--min-captions",
        type=options.positive_int,
        metavar="N",
        help="drop motions with fewer captions (1; humanml3d: 3)",
    )
    parser.add_argument(
        "--min-count",
        type=options.positive_int,
        metavar="N",
        help="words seen fewer times become <unk> (3)",
    )


def training_of(args: argparse.Namespace) -> list[str]:
    """The options that :func:`add_training` added, as far as they are given, as on a command line."""
    names = [name for name in ("preset", "scoring", "dtype", *OPTIONS, *LIMITS) if not name.startswith("lambda")]
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    texts = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    if args.compile is not None:
        texts.append("--compile" if args.compile else "--no-compile")
    return texts


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast import distributed

    processes = distributed.launched()
    device = options.device(args.device, processes)
    with distributed.job(processes, device):
        try:
            return _run(args, device, processes)
        except JobError as error:
            raise JobError(f"{error}; resume, with any number of processes, with: {_going_on(args)}") from error


def _run(args: argparse.Namespace, device: torch.device, processes: Processes) -> int:
    import torch

    from m2t_fast.run_folder import load_run
    from m2t_fast.training.compiled import require_compiler
    from m2t_fast.training.logs import require
    from m2t_fast.training.loop import train

    if args.log is not None:
        processes.on_main(lambda: require(args.log))
    resume = processes.on_main(lambda: _resumes(args, processes))
    init: Run | None = None
    with options.backend(args.backend, device), options.option_errors():
        if resume:
            data, config, settings, dtype, said = train_setup.resumed(args, processes)
        elif args.init is not None:
            init = processes.machine_by_machine(lambda: load_run(args.init))
            data, config, settings, dtype, said = train_setup.fine_tuned(args, processes, init)
        else:
            data, config, settings, dtype, said = train_setup.fresh(args, processes)
        if args.compile is not None:
            settings = dataclasses.replace(settings, compile=args.compile)
        if settings.compile:
            processes.on_main(lambda: require_compiler(device))
    if dtype == "bfloat16" and device.type == "cpu" and not _pays_in_bfloat16() and processes.main and not args.quiet:
        note = "--dtype bf16 does not pay on this processor: it has no bfloat16 products (AVX512_BF16)"
        print(f"{PROGRAM}: note: {note}", file=sys.stderr)
    try:
        with options.backend(args.backend, device):
            train(
                *(data, config, settings, args.output, device, getattr(torch, dtype), resume),
                progress=not args.quiet,
                processes=processes,
                init=init,
                notes=said,
                log=args.log,
                segment_takes=args.segment_takes,
            )
    except KeyboardInterrupt:
        if args.output.exists() and processes.main:
            print(f"m2t-fast: stopped; resume with: {_going_on(args)}", file=sys.stderr)
        return 130
    if processes.main:
        print(args.output)
    return 0


def _going_on(args: argparse.Namespace) -> str:
    """The command that resumes the run, as a shell takes it; the run has its own settings."""
    words = [PROGRAM, "train", "--data", str(args.data), "--output", str(args.output), "--resume"]
    for name in ("epochs", "device", "backend", "log"):
        if (value := getattr(args, name)) is not None and value != "auto":
            words += [f"--{name}", str(value)]
    words += ["--strict"] * args.strict + ["--quiet"] * args.quiet
    if args.compile is not None:
        words.append("--compile" if args.compile else "--no-compile")
    return shlex.join(words)


def _pays_in_bfloat16() -> bool:
    """Whether the kernels for this processor multiply bfloat16 as it is stored."""
    from m2t_fast.ops.cpu import launch, linear

    return launch.why_unavailable() is None and linear.multiplies_bfloat16()


def _resumes(args: argparse.Namespace, processes: Processes) -> bool:
    """Whether there is a run to resume. Processes that torchrun starts in place of others resume theirs."""
    exists: bool = args.output.exists()
    if exists and not args.resume and not processes.noted(_BEGUN):
        raise UserError(f"{args.output}: output folder exists already; --resume continues its run")
    processes.note(_BEGUN)
    return exists
