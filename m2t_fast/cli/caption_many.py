"""``m2t-fast caption RUN --data SOURCE --output FILE``: captions of any number of motions, in one or many processes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from m2t_fast.cli import motion_files, options, pictures
from m2t_fast.errors import JobError, UserError
from m2t_fast.wording import be, counted

if TYPE_CHECKING:
    from m2t_fast.captioning import Summary

_PROGRAM = "m2t-fast"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options --data and --output."""
    group = parser.add_argument_group(
        "any number of motions, resumes after any interruption; in parallel by torchrun (docs/scale.md)"
    )
    group.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER|LIST.txt",
        help="a data folder, a folder of motion files, or a text file with one path per line",
    )
    group.add_argument(
        "--output",
        type=Path,
        metavar="FILE.jsonl",
        help="the file to write: one JSON object per motion, in their order",
    )


def asked(args: argparse.Namespace) -> bool:
    """Whether this is asked for, and not the captions of files that are named.

    Raises:
        UserError: options that do not go together.
    """
    if args.data is None and args.output is None:
        if not args.motions:
            raise UserError(
                "caption: no motion; expected MOTION.npy, MOTION.bvh or FOLDER, or --data SOURCE --output FILE (see "
                "m2t-fast caption --help)"
            )
        return False
    missing = "--data" if args.data is None else "--output" if args.output is None else None
    if missing:
        raise UserError(f"{missing}: is missing; expected --data SOURCE and --output FILE together")
    if args.motions:
        raise UserError(f"{args.motions[0]}: expected either files or folders or --data SOURCE, not both")
    for name in ("json", *pictures.asked(args)):
        if getattr(args, name):
            raise UserError(f"--{name}: not with --data, which writes one line per motion to --output")
    return True


def run(args: argparse.Namespace, some_left_out: int) -> int:
    """Runs the command; ``some_left_out`` is the exit code when files were left out."""
    from m2t_fast import distributed
    from m2t_fast.captioning import CaptionJob, caption_files
    from m2t_fast.run_folder import load_run

    processes = distributed.launched()
    device = options.device(args.device, processes)
    with distributed.job(processes, device), options.backend(args.backend, device):
        opened = processes.machine_by_machine(lambda: load_run(args.run_folder, device))
        known = processes.machine_by_machine(lambda: motion_files.options_of(args, opened.skeleton))
        job = CaptionJob(args.data, args.output, known, options.search_of(args), args.batch_size)
        progress = processes.main
        try:
            summary = caption_files(opened, job, processes, progress)
        except KeyboardInterrupt:
            if processes.main:
                print(f"{_PROGRAM}: stopped; the same command resumes it", file=sys.stderr)
            return 130
        except JobError as error:
            text = "the same command resumes it, with any number of processes"
            raise JobError(f"{error}; {text}") from error
    if not processes.main:
        return 0  # an exit code of its own would make torchrun end the first process before it has said all
    _report(summary, job.left_out)
    print(args.output)
    return some_left_out if summary.left_out else 0


def _report(summary: Summary, left_out: Path) -> None:
    for notes, name in summary.assumed.items():
        print(f"{_PROGRAM}: {name} and files like it: {notes}", file=sys.stderr)
    for reason in summary.reasons:
        print(f"{_PROGRAM}: left out: {reason}", file=sys.stderr)
    if summary.left_out:
        more = f"; the first {len(summary.reasons)} above" if summary.left_out > len(summary.reasons) else ""
        motions = f"{summary.left_out:,} of {counted(summary.motions, 'motion')}"
        print(
            f"{_PROGRAM}: {motions} {be(summary.left_out, past=True)} left out{more}; all in {left_out}",
            file=sys.stderr,
        )
    if summary.doubted:
        captions = f"{summary.doubted:,} of {counted(summary.made, 'caption')}"
        print(
            f"{_PROGRAM}: {captions} {be(summary.doubted)} not to be trusted; the file says why",
            file=sys.stderr,
        )
    rate = summary.made / max(summary.seconds, 1e-9)
    text = f"{counted(summary.made, 'caption')} in {summary.seconds:.1f} s ({rate:.1f} per second)"
    print(f"{_PROGRAM}: {text}", file=sys.stderr)
