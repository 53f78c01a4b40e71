"""``m2t-fast train``: train a captioner and write its run folder."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options
from m2t_fast.errors import JobError, UserError
from m2t_fast.training.recommended import LARGE
from m2t_fast.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from m2t_fast.config import CaptionerConfig
    from m2t_fast.data.dataset import Prepared
    from m2t_fast.distributed import Processes

OPTIONS: tuple[str, ...] = (
    *("epochs", "batch_size", "lambda_spat", "lambda_adapt", "teacher_forcing", "seed"),
    *("learning_rate", "warmup_steps"),
)
_LIMITS = ("min_frames", "max_frames", "max_tokens", "min_captions", "min_count")
_BEGUN = "train"
PROGRAM = "m2t-fast"
_UNLIKE_THE_RUN = "got {given}, but the run in {folder} has {own}; leave the option out, or train a new run"


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
    add_training(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output, or start it")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no line an epoch")
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
    """The options of how to train, without the weights of the losses."""
    parser.add_argument("--preset", choices=("kit", "humanml3d"), help="the paper's settings for this data set")
    parser.add_argument(
        "--scoring", choices=("part", "frame"), help="attention of the paper, or of its released code (part)"
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
        help=_usual("of AdamW", "learning_rate"),
    )
    parser.add_argument(
        "--warmup-steps",
        type=options.bounded("warmup-steps"),
        metavar="N",
        help=_usual("steps over which the learning rate rises to its value", "warmup_steps"),
    )
    parser.add_argument(
        "--seed", type=options.bounded("seed"), metavar="N", help=_usual("of all random numbers", "seed")
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
        help="drop motions of fewer frames, as distributed (no limit; humanml3d: 40)",
    )
    parser.add_argument(
        "--max-frames",
        type=options.positive_int,
        metavar="N",
        help="drop motions of more frames, as distributed (no limit; humanml3d: 200)",
    )
    parser.add_argument(
        "--max-tokens",
        type=options.positive_int,
        metavar="N",
        help="drop captions of more words (no limit; humanml3d: 20)",
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
        help="words seen less often become <unk> (3)",
    )


def training_of(args: argparse.Namespace) -> list[str]:
    """The options that :func:`add_training` added, as far as they are given, as on a command line."""
    names = [name for name in ("preset", "scoring", "dtype", *OPTIONS, *_LIMITS) if not name.startswith("lambda")]
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
            raise JobError(f"{error}; go on, with any number of processes, with: {_going_on(args)}") from error


def _run(args: argparse.Namespace, device: torch.device, processes: Processes) -> int:
    import torch

    from m2t_fast.training.compiled import require_compiler
    from m2t_fast.training.loop import train

    resume = processes.on_main(lambda: _resumes(args, processes))
    prepare = _resumed if resume else _fresh
    with options.backend(args.backend, device), options.option_errors():
        data, config, settings, dtype = prepare(args, processes)
        if args.compile is not None:
            settings = dataclasses.replace(settings, compile=args.compile)
        if settings.compile:
            processes.on_main(lambda: require_compiler(device))
    try:
        with options.backend(args.backend, device):
            train(
                *(data, config, settings, args.output, device, getattr(torch, dtype), resume),
                progress=not args.quiet,
                processes=processes,
            )
    except KeyboardInterrupt:
        if args.output.exists() and processes.main:
            print(f"m2t-fast: stopped; go on with: {_going_on(args)}", file=sys.stderr)
        return 130
    if processes.main:
        print(args.output)
    return 0


def _going_on(args: argparse.Namespace) -> str:
    """The command that goes on with the run, as a shell takes it; the run has its own settings."""
    words = [PROGRAM, "train", "--data", str(args.data), "--output", str(args.output), "--resume"]
    for name in ("epochs", "device", "backend"):
        if (value := getattr(args, name)) is not None and value != "auto":
            words += [f"--{name}", str(value)]
    words += ["--strict"] * args.strict + ["--quiet"] * args.quiet
    if args.compile is not None:
        words.append("--compile" if args.compile else "--no-compile")
    return shlex.join(words)


def _resumes(args: argparse.Namespace, processes: Processes) -> bool:
    """Whether there is a run to go on with. Processes that torchrun starts in the place of others go on with theirs."""
    exists: bool = args.output.exists()
    if exists and not args.resume and not processes.noted(_BEGUN):
        raise UserError(f"{args.output}: output folder exists already; --resume goes on with a run")
    processes.note(_BEGUN)
    return exists


def _fresh(args: argparse.Namespace, processes: Processes) -> tuple[Prepared, CaptionerConfig, TrainingSettings, str]:
    """Data, model, settings and dtype of a new run."""
    from m2t_fast.config import CaptionerConfig
    from m2t_fast.data.dataset import load_data
    from m2t_fast.data.preprocessing import DataSettings
    from m2t_fast.training.recommended import recommend

    given = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    limits = {name: value for name in _LIMITS if (value := getattr(args, name)) is not None}
    data_settings = getattr(DataSettings, args.preset)(**limits) if args.preset else DataSettings(**limits)
    joints = 21 if args.preset == "kit" else 22
    data = processes.machine_by_machine(
        lambda: load_data(args.data, data_settings, splits=("train", "val"), joints=joints, strict=args.strict)
    )
    if args.preset:
        preset, own = args.preset, {}
    else:
        chosen = recommend(len(data["train"]))
        preset, own = chosen.preset, chosen.training
        if processes.main and not args.quiet:
            names = {"kit": "KIT-ML", "humanml3d": "HumanML3D"}
            text = f"settings like {names[preset]}'s ({chosen.why}; --preset and options change them)"
            print(f"{PROGRAM}: {text}", file=sys.stderr)
    changes: dict[str, Any] = {"scoring": args.scoring} if args.scoring else {}
    config = getattr(CaptionerConfig, preset)(len(data.vocabulary), joints=data.skeleton.joints, **changes)
    return data, config, getattr(TrainingSettings, preset)(**{**own, **given}), args.dtype or "float32"


def _resumed(args: argparse.Namespace, processes: Processes) -> tuple[Prepared, CaptionerConfig, TrainingSettings, str]:
    """Data, model, settings and dtype of the run in ``--output``; only --epochs may differ from it."""
    from m2t_fast.data.dataset import load_data
    from m2t_fast.reading import shown
    from m2t_fast.run_folder import CONFIG, load_run
    from m2t_fast.training.step import DTYPES

    stored = processes.on_main(lambda: load_run(args.output))
    if stored.training is None:
        raise UserError(f"{args.output}: converted weights cannot be resumed")
    training = dict(stored.training)
    dtype = training.pop("dtype", None)
    path = args.output / CONFIG
    if not (isinstance(dtype, str) and dtype in DTYPES):
        raise UserError(f"{path}: training: dtype: got {shown(dtype)}, expected one of {', '.join(DTYPES)}")
    training.pop("data", None)
    settings = TrainingSettings.from_dict(training, f"{path}: training: ")
    own = {**training, **stored.settings.to_dict(), "scoring": stored.model.config.scoring, "dtype": dtype}
    for name in (*OPTIONS, *_LIMITS, "scoring", "dtype"):
        given = getattr(args, name)
        if name != "epochs" and given is not None and given != own[name]:
            text = _UNLIKE_THE_RUN.format(given=given, folder=args.output, own=own[name])
            raise UserError(f"--{name.replace('_', '-')}: {text}")
    if args.epochs is not None:
        settings = dataclasses.replace(settings, epochs=args.epochs)
    data = processes.machine_by_machine(
        lambda: load_data(
            args.data,
            stored.settings,
            vocabulary=stored.vocabulary,
            statistics=stored.statistics,
            splits=("train", "val"),
            joints=stored.model.config.joints,
            strict=args.strict,
        )
    )
    own_joints = stored.model.config.joints
    if data.skeleton.joints != own_joints:
        raise UserError(
            f"{args.data}: motions have {data.skeleton.joints} joints, but {args.output} reads {own_joints}"
        )
    return data, stored.model.config, settings, dtype
