"""The options --html, --gif and --mp4: captioned motions as a page or as an animation."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2t_fast.cli import options

if TYPE_CHECKING:
    from m2t_fast.captioning.pipeline import Captioned
    from m2t_fast.cli.motion_files import MotionFile
    from m2t_fast.interpretation.captioned import CaptionedMotion
    from m2t_fast.run_folder import Run

FORMATS = ("html", "gif", "mp4")
LARGE_PAGE = 20e6
"""Bytes of a page from which its size is told."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options --html, --gif, --mp4 and --gate-threshold; an existing file is replaced as a whole."""
    group = parser.add_argument_group("pages and animations")
    group.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write one self-contained page: the motion in 3D, its caption, and when and where the model looked to say "
        "each word; several motions make a gallery",
    )
    group.add_argument("--gif", type=Path, metavar="FILE", help="write the same as an animation (needs matplotlib)")
    group.add_argument("--mp4", type=Path, metavar="FILE", help="write the same as a film (also needs ffmpeg)")
    group.add_argument(
        "--gate-threshold",
        type=options.number(0.0, 1.0),
        default=0.5,
        metavar="X",
        help="motion words, in the pictures, are those with at least this gate (%(default)s)",
    )


def asked(args: argparse.Namespace) -> dict[str, Path]:
    """The files to write, by format."""
    return {name: path for name in FORMATS if (path := getattr(args, name)) is not None}


def check(args: argparse.Namespace, inputs: Sequence[Path] = ()) -> None:
    """Raise now what would otherwise come to light after the work.

    Raises:
        UserError: a file cannot be written, is one of ``inputs`` or written twice, or what writes it is missing.
    """
    for name, path in options.own_files(asked(args), inputs):
        if name != "html":
            from m2t_fast.interpretation.animation import require_writer

            require_writer(name)
        options.require_writable(path)


def item(file: MotionFile, found: Captioned, opened: Run) -> CaptionedMotion:
    """One motion for :func:`write`."""
    from m2t_fast.captioning.words import seconds_of
    from m2t_fast.interpretation.captioned import CaptionedMotion

    fps, settings = opened.skeleton.fps, opened.settings
    start = seconds_of(0, settings, fps, len(file.joints))
    joints = found.joints / file.units_per_metre
    name = f"{file.path}{file.label}"
    best, *others = found.captions
    return CaptionedMotion.of(
        name,
        joints,
        found.words,
        fps / settings.downsample,
        start,
        notes=file.notes,
        score=best.score,
        doubts=found.trust.reasons,
        others=[(other.caption, other.score) for other in others],
    )


def write(args: argparse.Namespace, items: Sequence[CaptionedMotion]) -> None:
    """Writes what was asked for; motions are called by their files' names, without the folder they share.

    Raises:
        UserError: a file cannot be written.
    """
    paths = asked(args)
    if not paths:
        return
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(motion.name)) for motion in items])
    items = [dataclasses.replace(m, name=os.path.relpath(os.path.abspath(m.name), shared)) for m in items]
    if "html" in paths:
        from m2t_fast.interpretation.page import page_bytes, save_page

        size = page_bytes(items)
        if size > LARGE_PAGE:
            print(
                f"--html {paths['html']}: {len(items):,} motions make a page of about {size / 1e6:.0f} MB, slow "
                "to open; caption fewer files at a time for smaller pages",
                file=sys.stderr,
            )
        about = f"Run {args.run_folder} \u00b7 {_given(args.motions)} \u00b7 {datetime.date.today().isoformat()}"
        save_page(paths["html"], items, args.gate_threshold, about)
    for name in ("gif", "mp4"):
        if name in paths:
            from m2t_fast.interpretation.animation import save_animation

            save_animation(paths[name], items, name, args.gate_threshold, progress=True)


def _given(motions: Sequence[Path]) -> str:
    """What was captioned, in few words."""
    return str(motions[0]) if len(motions) == 1 else f"{motions[0]} and {len(motions) - 1} more"
