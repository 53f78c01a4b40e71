"""``m2t-fast evaluate``: scores of a run on a split, and its predictions."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from m2t_fast.cli import options
from m2t_fast.errors import UserError


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score a run on a split",
        description="Captions a split, prints the scores against all references and writes the predictions.",
    )
    options.add_run(parser)
    options.add_data(parser)
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="which split (%(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where predictions go (RUN/predictions.jsonl)")
    options.add_search(parser, beam_size=1)
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.data.dataset import load_data
    from m2t_fast.evaluation.scores import evaluate, write_predictions
    from m2t_fast.training.run_folder import load_run

    device = options.device(args.device)
    with options.backend(args.backend, device):
        opened = load_run(args.run_folder, device)
        output = args.output or args.run_folder / "predictions.jsonl"
        options.require_writable(output)
        prepared = load_data(
            args.data,
            dataclasses.replace(opened.settings, max_frames_train=None),  # a filter of training, not of the split
            vocabulary=opened.vocabulary,
            statistics=opened.statistics,
            splits=(args.split,),
            joints=opened.skeleton.joints,
        )
        if prepared.skeleton != opened.skeleton:
            raise UserError(
                f"{args.data}: motions have {prepared.skeleton.joints} joints, but {opened.folder} reads "
                f"{opened.skeleton.joints} ({opened.skeleton.name})"
            )
        dataset = prepared[args.split]
        scores, records = evaluate(
            opened, dataset, batch_size=args.batch_size, progress=sys.stderr.isatty(), **options.search_of(args)
        )
    write_predictions(output, records)
    print(f"{args.split} split of {args.data}: {len(dataset.ids):,} motions, {len(dataset):,} references")
    for name, value in scores.items():
        print(f"{name:<8}{value:6.2f}")
    print(f"predictions in {output}")
    return 0
