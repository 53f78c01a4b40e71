"""``m2t-fast calibrate``: teaches a run which motions are too far from its training data for a caption."""

from __future__ import annotations

import argparse
from typing import Any

from m2t_fast.cli import options
from m2t_fast.errors import UserError
from m2t_fast.wording import counted


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="teach a run which captions are not to be trusted",
        description="Measures how far the validation motions lie from the training motions in the features of the "
        "encoder. Writes trust.safetensors into the run folder; caption then says of motions farther away that their "
        "captions are not to be trusted. train does this at its end; the command is for runs of older versions, "
        "converted weights, and other data.",
    )
    options.add_run(parser)
    options.add_data(parser)
    parser.add_argument(
        "--batch-size",
        type=options.bounded("batch-size"),
        default=64,
        metavar="N",
        help="motions at a time (%(default)s)",
    )
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.captioning.calibration import calibrate
    from m2t_fast.captioning.familiarity import FILE
    from m2t_fast.data.loading import load_data
    from m2t_fast.run_folder import load_run

    device = options.device(args.device)
    with options.backend(args.backend, device):
        opened = load_run(args.run_folder)
        options.require_writable(args.run_folder / FILE)
        data = load_data(
            *(args.data, opened.settings),
            vocabulary=opened.vocabulary,
            statistics=opened.statistics,
            splits=("train", "val"),
            joints=opened.skeleton.joints,
            strict=args.strict,
        )
        if data.skeleton.joints != opened.skeleton.joints:
            raise UserError(
                f"{args.data}: motions have {data.skeleton.joints} joints, but {args.run_folder} reads "
                f"{opened.skeleton.joints}"
            )
        if not calibrate(args.run_folder, data, device, args.batch_size):
            raise UserError(f"{args.data}: {counted(data['train'].motions, 'training motion')}, expected at least 8")
    splits = " and ".join(f"{split.motions:,} {name}" for name, split in data.splits.items())
    print(f"{args.run_folder / FILE}: calibrated on {splits} motions")
    return 0
