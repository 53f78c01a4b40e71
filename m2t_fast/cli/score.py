"""``m2t-fast score``: captions of any model, scored by the protocol of ``evaluate``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options, scoring
from m2t_fast.cli.main import PROGRAM
from m2t_fast.errors import UserError
from m2t_fast.wording import be, counted

if TYPE_CHECKING:
    from m2t_fast.data.dataset import MotionDataset
    from m2t_fast.evaluation.peers import Predictions


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "score",
        help="score captions of any model",
        description="Scores captions from files by the protocol of evaluate, one table row per file, or per model in "
        "it. A file has one JSON object per line: id, and prediction (or caption). Captions are compared in lower "
        "case, without punctuation; every motion of the split must have one.",
    )
    parser.add_argument(
        "predictions", metavar="PREDICTIONS.jsonl", type=Path, nargs="+", help="files of captions, one per motion"
    )
    options.add_data(parser)
    options.add_split(parser)
    parser.add_argument(
        "--preset", choices=("kit", "humanml3d"), help="the references that this data set's filters keep (all)"
    )
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="what the table calls the models (the names of the files)"
    )
    scoring.add_arguments(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR|NAME.jsonl",
        help="where the table and the captions as compared go, as for evaluate (without it they are printed only)",
    )
    options.add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.evaluation.peers import read_predictions, score_predictions
    from m2t_fast.evaluation.scored_runs import Files
    from m2t_fast.files import resolved

    device = options.device(args.device)
    files = None if args.output is None else Files.of(args.output)
    for path in files.all() if files else []:
        if resolved(path) in map(resolved, args.predictions):
            raise UserError(f"--output {args.output}: would replace {path}, which is to be scored")
        options.require_writable(path)
    found = _named([one for path in args.predictions for one in read_predictions(path)], args.names)
    dataset = _split(args)
    scorers = scoring.Scorers.of(args, dataset.skeleton, device)
    results = []
    for predictions in found:
        result, unknown = score_predictions(predictions, dataset, **scorers.arguments)
        results.append(result)
        if unknown:
            strays = f"{counted(len(unknown), 'prediction')} {be(len(unknown))} of no motion"
            print(f"{PROGRAM}: {predictions.path}: {strays} of the {args.split} split", file=sys.stderr)
    report = scorers.report(args, {}, results)
    written = [scoring.write(report, files)] if files else []  # before anything is printed: nobody may be reading it
    print(report.printed(), *written, sep="\n")
    return 0


def _split(args: argparse.Namespace) -> MotionDataset:
    """The split without a filter of training; its vocabulary and statistics do not count."""
    from m2t_fast.data.loading import load_data
    from m2t_fast.data.preprocessing import DataSettings, Statistics
    from m2t_fast.data.vocabulary import Vocabulary

    settings: DataSettings = getattr(DataSettings, args.preset)() if args.preset else DataSettings()
    return load_data(
        args.data,
        dataclasses.replace(settings, max_frames_train=None),
        vocabulary=Vocabulary(),
        statistics=Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        splits=(args.split,),
        joints=21 if args.preset == "kit" else 22,
        strict=args.strict,
    )[args.split]


def _named(found: list[Predictions], names: list[str] | None) -> list[Predictions]:
    """The predictions under names of their own."""
    if names is not None:
        if len(names) != len(found):
            raise UserError(f"--names: got {len(names)}, expected one for each of {counted(len(found), 'model')}")
        return [dataclasses.replace(one, name=name) for one, name in zip(found, names, strict=True)]
    count = Counter(one.name for one in found)
    return [one if count[one.name] == 1 else dataclasses.replace(one, name=f"{one.path}: {one.name}") for one in found]
