"""``m2t-fast caption``: captions of motion files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import caption_many, motion_files, options, pictures, segments, stream
from m2t_fast.errors import UserError

if TYPE_CHECKING:
    from m2t_fast.captioning.pipeline import Captioned
    from m2t_fast.cli.motion_files import MotionFile
    from m2t_fast.run_folder import Run


SOME_LEFT_OUT = 3
"""Exit code: captions were made, but not of every file."""


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "caption",
        help="caption motion files",
        description="Prints one caption per motion, in the order given; for a folder a table, one line per file (name, "
        "tab, caption). Of several files, those that cannot be read are left out and listed (exit code 3). With "
        "--data and --output any number of motions goes to a file, also in several processes.",
    )
    options.add_run(parser, needed=False)
    motion_files.add_arguments(parser)
    parser.add_argument(
        "--show-joints",
        type=Path,
        metavar="FILE",
        help="print which joints of a capture were found, as a joint map to edit, and caption nothing",
    )
    caption_many.add_arguments(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per motion: the K captions with their scores, and for each word of the best one "
        "its gate, when (mean and std in seconds of the file) and weights of the body parts; and whether to trust it",
    )
    pictures.add_arguments(parser)
    segments.add_arguments(parser)
    options.add_search(parser, beam_size=2)
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.captioning.pipeline import caption_joints
    from m2t_fast.captioning.trust import Judge
    from m2t_fast.run_folder import load_run

    if args.show_joints is not None:
        return _show_joints(args)
    if args.run_folder is None:
        raise UserError("caption: no RUN; expected a run folder and motions (see m2t-fast caption --help)")
    if stream.asked(args):
        return stream.run(args)
    if caption_many.asked(args):
        return caption_many.run(args, SOME_LEFT_OUT)
    if pictures.asked(args):
        pictures.check(args, motion_files.inputs(args))
    segments.check(args, [path for path, _ in motion_files.named(args)])
    device = options.device(args.device)
    with options.backend(args.backend, device):
        opened = load_run(args.run_folder, device)
        Judge(opened)  # raises now what would else be found out after reading all files
        segmenter = segments.segmenter(opened) if args.segments else None
        files, skipped = motion_files.read_all(args, opened)
        if segmenter is not None:
            segments.run(args, files, opened, segmenter)
            motion_files.report_skipped(skipped, len(files))
            return SOME_LEFT_OUT if skipped else 0
        joints = [file.joints for file in files]
        captioned = caption_joints(opened, joints, args.batch_size, progress=True, **options.search_of(args))
    if pictures.asked(args):
        pictures.write(args, [pictures.item(*pair, opened) for pair in zip(files, captioned, strict=True)])
    table = any(path.is_dir() for path in args.motions) or any(m.name != str(m.path) for m in files)
    for file, found in zip(files, captioned, strict=True):
        if args.json:
            print(json.dumps(_describe(file, found, opened), ensure_ascii=False))
        else:
            caption = found.captions[0].caption
            print(f"{file.name}\t{caption}" if table else caption)
    motion_files.report_doubts([file.name for file in files], [found.trust for found in captioned])
    motion_files.report_skipped(skipped, len(files))
    return SOME_LEFT_OUT if skipped else 0


def _show_joints(args: argparse.Namespace) -> int:
    """The joints of a capture that a run reads; without a run those of HumanML3D."""
    from m2t_fast.run_folder import load_run
    from m2t_fast.skeleton import HUMANML3D

    skeleton = HUMANML3D if args.run_folder is None else load_run(args.run_folder).skeleton
    print(motion_files.show_joints(args, skeleton))
    return 0


def _describe(file: MotionFile, found: Captioned, opened: Run) -> dict[str, Any]:
    """What --json prints of a motion."""
    from m2t_fast.captioning.words import seconds_of

    fps, settings, frames = opened.skeleton.fps, opened.settings, len(file.joints)
    return {
        "file": f"{file.path}{file.label}",
        "caption": found.captions[0].caption,
        "score": found.captions[0].score,
        "captions": [hypothesis._asdict() for hypothesis in found.captions],
        "words": [
            {
                "word": word.word,
                "gate": word.gate,
                "mean": seconds_of(word.mean, settings, fps, frames),
                "std": word.std * settings.downsample / fps,
                "parts": word.parts,
            }
            for word in found.words
        ],
        "trust": found.trust.to_dict(),
    }
