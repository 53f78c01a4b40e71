"""``m2t-fast fit-segments``: teaches a run where the segments of long takes end."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from m2t_fast.cli import options
from m2t_fast.errors import UserError
from m2t_fast.wording import counted


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "fit-segments",
        help="teach a run where the segments of long takes end",
        description="Joins clips of the validation split into takes, captions every window of them, and fits from "
        "these captions which windows are segments. Writes segmenter.safetensors into the run folder, which caption "
        "--segments then uses instead of the one that comes with the package.",
    )
    options.add_run(parser)
    options.add_data(parser)
    parser.add_argument(
        "--takes", type=options.whole_number(1, 10_000), default=60, metavar="N", help="takes to fit on (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=options.whole_number(0), default=1, metavar="N", help="seed of the choice of clips (%(default)s)"
    )
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.data.takes import load_clips, make_takes
    from m2t_fast.run_folder import load_run
    from m2t_fast.segmentation import fit_segmenter
    from m2t_fast.segmentation.segmenter import FILE

    device = options.device(args.device)
    with options.backend(args.backend, device):
        opened = load_run(args.run_folder, device)
        clips = load_clips(args.data, "val", opened.skeleton)
        options.require_writable(args.run_folder / FILE)
        try:
            takes = make_takes(clips, opened.skeleton, args.takes, args.seed)
        except ValueError as error:
            raise UserError(f"{args.data}: the val split cannot be joined to takes: {error}") from None
        segmenter = fit_segmenter(opened, takes, progress=sys.stderr.isatty())
        segmenter.save(args.run_folder / FILE)
    seconds = sum(len(take.joints) for take in takes) / opened.skeleton.fps
    print(f"{args.run_folder / FILE}: fitted on {counted(len(takes), 'take')}, {seconds / 60:.1f} minutes")
    return 0
