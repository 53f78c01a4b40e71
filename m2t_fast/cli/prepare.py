"""``m2t-fast prepare``: your own captures, or a public data set, as a data folder, ready for ``train``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import motion_files, options
from m2t_fast.cli.main import PROGRAM
from m2t_fast.errors import UserError
from m2t_fast.wording import be, counted

if TYPE_CHECKING:
    import numpy as np

    from m2t_fast.preparation import CaptionRow

SOME_LEFT_OUT = 3
"""Exit code: the folder was made, but not of every file."""

_KINDS = {"single": "of one take", "turn": "with a turn", "multi": "joined"}
"""Kinds of clips in words."""

_SPLITS = "80,5,15"
_NAMED = 6  # files that a message names


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "prepare",
        help="turn your own captures and captions, or a public data set, into a data folder",
        description="Makes a data folder (new_joints/, texts/, split files) from motion files of any kind and a table "
        "of captions. A file that cannot be read or has no caption is left out and listed on stderr, exit code 3. With "
        "--source bandai-namco CLONE it is made from a clone of the Bandai-Namco-Research-Motiondataset, whose motions "
        "are licensed under CC BY-NC 4.0; captions, times and body parts come from labels and measurements.",
    )
    motion_files.add_arguments(parser)
    parser.add_argument(
        "--captions",
        type=Path,
        metavar="FILE",
        help=".csv with columns file and caption, or .jsonl with such objects; start and end (seconds of the file), "
        "source (who was captured) and split are optional",
    )
    parser.add_argument(
        "--source",
        choices=("bandai-namco",),
        help="the one folder given is a clone of this public data set (docs/data.md); it brings its own captions",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DATA", help="the data folder to make")
    parser.add_argument(
        "--mirror", action="store_true", help="add every motion mirrored, left and right exchanged in its captions"
    )
    parser.add_argument(
        "--skeleton",
        choices=("humanml3d", "kit"),
        default="humanml3d",
        help="the joints to write: 22 at 20 frames per second, or 21 at 12.5 (%(default)s)",
    )
    parser.add_argument(
        "--splits",
        type=options.numbers_in_order(3),
        default=options.numbers_in_order(3)(_SPLITS),
        metavar="A,B,C",
        help=f"shares of train, val and test; a source is in one of them ({_SPLITS})",
    )
    parser.add_argument("--seed", type=options.bounded("seed"), default=0, metavar="N", help="seed of the splits (0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    return _from_captures(args) if args.source is None else _from_bandai_namco(args)


def _from_bandai_namco(args: argparse.Namespace) -> int:
    from m2t_fast.files import new_folder
    from m2t_fast.preparation.bandai_namco import LICENCE, URL, prepare_bandai_namco

    if len(args.motions) != 1:
        raise UserError(f"--source bandai-namco: got {len(args.motions)} folders, expected one clone: git clone {URL}")
    for name, usual in (("captions", None), ("mirror", False), ("skeleton", "humanml3d")):
        if getattr(args, name) != usual:
            raise UserError(f"--{name}: not with --source bandai-namco, whose recipe has its own")
    options.refuse_existing(args.output)
    with new_folder(args.output) as folder:
        made = prepare_bandai_namco(args.motions[0], folder, args.seed)
    for line in made.left_out:
        print(f"{PROGRAM}: left out: {line}", file=sys.stderr)
    counts = ", ".join(f"{count} {split}" for split, count in made.counts.items())
    kinds = ", ".join(f"{count} {_KINDS.get(kind, kind)}" for kind, count in made.kinds.items())
    clips = f"{counted(sum(made.counts.values()), 'clip')} ({counts}; {kinds})"
    print(f"{args.output}: {clips} of {counted(made.takes, 'take')}, {made.hours:.2f} hours")
    print(f"the motions are licensed under {LICENCE}: {args.output / 'LICENSE'}")
    return 0


def _from_captures(args: argparse.Namespace) -> int:
    from m2t_fast.files import new_folder
    from m2t_fast.motion import read_motions
    from m2t_fast.preparation import prepare_captures, read_caption_rows, rows_of
    from m2t_fast.skeleton import SKELETONS

    if not args.motions:
        raise UserError("prepare: no motion; expected files or folders (see m2t-fast prepare --help)")
    if args.captions is None:
        raise UserError("--captions: is missing; expected a .csv or .jsonl file with the captions of the motions")
    if args.splits[0] <= 0:
        raise UserError(f"--splits: got a share of {args.splits[0]:g} for train, expected one above 0")
    options.refuse_existing(args.output)
    skeleton = next(one for one in SKELETONS if one.name == args.skeleton)
    known = motion_files.options_of(args, skeleton)
    files = list(dict(motion_files.named(args)).items())
    rows = read_caption_rows(args.captions)
    captioned, strays = rows_of(rows, files)
    if len(strays) == len(rows):
        names = ", ".join(name for _, name in files[:_NAMED]) + (", ..." if len(files) > _NAMED else "")
        raise UserError(f"{args.captions}: {_strays(strays)}; the files are {names}")
    said = motion_files.Said()

    def read(path: Path) -> list[np.ndarray]:
        motions = read_motions(path, skeleton, known)
        for motion in motions:
            said.add(motion.notes, f"{path}{motion.label}")
        return [motion.joints for motion in motions]

    with new_folder(args.output) as folder:
        done = prepare_captures(folder, captioned, read, skeleton, args.mirror, args.splits, args.seed)
        motion_files.require_parameters(args, said)
    said.report()
    if strays:
        print(f"{PROGRAM}: {args.captions}: {_strays(strays)}", file=sys.stderr)
    motion_files.report_skipped(done.left_out, len(files) - len(done.left_out))
    counts = ", ".join(f"{count} {split}" for split, count in done.counts.items())
    print(f"{args.output}: {counted(sum(done.counts.values()), 'motion')} ({counts})")
    return SOME_LEFT_OUT if done.left_out else 0


def _strays(rows: list[CaptionRow]) -> str:
    """The message about captions of files that were not given."""
    names = list(dict.fromkeys(row.file for row in rows))
    listed = ", ".join(map(repr, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
    return f"{counted(len(rows), 'caption')} {be(len(rows))} of no file that was given: {listed}"
