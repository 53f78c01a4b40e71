"""``m2t-fast export``: a run as one file for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from m2t_fast.cli import options


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a run as one file for other programs (torch.export or ONNX)",
        description="Writes a run's captioner as one file that runs without m2t_fast: torch.export's (.pt2) or ONNX "
        "(.onnx), for any number of motions, frames and words, with config.json and vocabulary.json inside. "
        "It reads standardised motions, their lengths and the words of captions, and gives the scores of every next "
        "word and where the model looked; with --greedy it finds the words itself.",
    )
    options.add_run(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="captioner.pt2 or captioner.onnx")
    parser.add_argument("--greedy", action="store_true", help="find the words (greedy search) instead of reading them")
    parser.add_argument(
        "--max-length",
        type=options.whole_number(1, 1000),
        metavar="N",
        help="words that --greedy decodes, for every caption (40)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.config import MAX_LENGTH
    from m2t_fast.errors import UserError
    from m2t_fast.export import FORWARD_OUTPUTS, GREEDY_OUTPUTS, check_file, write_export
    from m2t_fast.run_folder import load_run

    if args.max_length is not None and not args.greedy:
        raise UserError("--max-length is for --greedy")
    check_file(args.file)
    options.require_writable(args.file)
    write_export(load_run(args.run_folder), args.file, args.greedy, args.max_length or MAX_LENGTH)
    inputs = "motion, lengths" if args.greedy else "motion, lengths, tokens"
    print(f"{args.file}: ({inputs}) -> {', '.join(GREEDY_OUTPUTS if args.greedy else FORWARD_OUTPUTS)}")
    return 0
