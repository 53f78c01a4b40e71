"""The options of ``caption --segments``: long takes as segments, printed or as subtitles, tables and annotations."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options, pictures
from m2t_fast.cli.main import PROGRAM
from m2t_fast.errors import UserError

if TYPE_CHECKING:
    from m2t_fast.captioning.trust import Trust
    from m2t_fast.cli.motion_files import MotionFile
    from m2t_fast.interpretation.captioned import CaptionedMotion
    from m2t_fast.run_folder import Run
    from m2t_fast.segmentation import Segment, Segmenter

FORMATS = ("srt", "vtt", "csv", "eaf")
_NAMES = {
    "srt": "SubRip subtitles",
    "vtt": "WebVTT subtitles",
    "csv": "a table: start, end, caption, confidence",
    "eaf": "an annotation file of ELAN",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The option --segments and the files it can write."""
    group = parser.add_argument_group("long takes (docs/long-takes.md)")
    group.add_argument(
        "--segments",
        action="store_true",
        help="cut each motion into segments and caption each; one line per segment: start, end, confidence, caption",
    )
    for name in FORMATS:
        group.add_argument(
            f"--{name}", type=Path, metavar="FILE", help=f"with --segments and one motion: write {_NAMES[name]}"
        )


def check(args: argparse.Namespace, inputs: Sequence[Path]) -> None:
    """Raise now what would otherwise come to light after the work.

    Raises:
        UserError: a file cannot be written, is one of ``inputs`` or written twice, or what writes it is missing; an
            option does not go with --segments.
    """
    from m2t_fast.segmentation.formats import require

    asked = {name: path for name in FORMATS if (path := getattr(args, name)) is not None}
    if asked and not args.segments:
        raise UserError(f"--{next(iter(asked))}: goes with --segments")
    if not args.segments:
        return
    for name in ("gif", "mp4"):
        if getattr(args, name) is not None:
            raise UserError(
                f"--{name}: does not go with --segments; expected --json, --html, --srt, --vtt, --csv or --eaf"
            )
    if asked and len(inputs) != 1:
        raise UserError(f"--{next(iter(asked))}: got {len(inputs)} motions, expected one")
    for name, path in options.own_files(asked, inputs):
        require(name)
        options.require_writable(path)


def segmenter(opened: Run) -> Segmenter:
    """What finds the segments; says on stderr when it is not the run's own.

    Raises:
        UserError: the run's own is damaged.
    """
    from m2t_fast.segmentation import segmenter_of
    from m2t_fast.segmentation.segmenter import FILE

    if not (opened.folder / FILE).exists():
        text = "uses the segmenter of the built-in data; m2t-fast fit-segments RUN --data DATA fits a better one"
        print(f"{PROGRAM}: {opened.folder}: {text}", file=sys.stderr)
    return segmenter_of(opened)


def run(args: argparse.Namespace, files: Sequence[MotionFile], opened: Run, segmenter: Segmenter) -> None:
    """Finds the segments of every motion, prints them and writes the files.

    Raises:
        UserError: a file cannot be written.
    """
    from m2t_fast.segmentation import segment_joints
    from m2t_fast.segmentation.formats import Line, write

    asked = {name: path for name in FORMATS if (path := getattr(args, name)) is not None}
    if asked and len(files) != 1:
        raise UserError(f"--{next(iter(asked))}: {files[0].path} holds {len(files)} motions, expected one")
    items = []
    for file in files:
        found = segment_joints(
            opened,
            file.joints,
            segmenter,
            batch_size=args.batch_size,
            progress=sys.stderr.isatty(),
            **options.search_of(args),
        )
        fps = opened.skeleton.fps
        lines = [Line(s.start / fps, s.end / fps, s.captioned.captions[0].caption, s.confidence) for s in found]
        if args.json:
            name = f"{file.path}{file.label}"
            listed = [_describe(segment, opened) for segment in found]
            print(json.dumps({"file": name, "segments": listed}, ensure_ascii=False))
        else:
            for line in lines:
                text = f"{line.start:.2f}\t{line.end:.2f}\t{line.confidence:.2f}\t{line.caption}"
                print(text if len(files) == 1 else f"{file.name}\t{text}")
        for kind, path in asked.items():
            write(kind, path, lines, file.path.name)
        if args.html is not None:
            items.append(_item(file, found, opened))
    if items:
        pictures.write(args, items)


def _item(file: MotionFile, found: Sequence[Segment], opened: Run) -> CaptionedMotion:
    """A take with its segments for the page, in frames that the model reads."""
    from m2t_fast.captioning.pipeline import Captioned, Hypothesis
    from m2t_fast.data.preprocessing import downsample

    settings = opened.settings
    kept = downsample(file.joints, settings)
    first = min(settings.first_frame, len(file.joints) - 1)
    made = pictures.item(file, Captioned(kept, [Hypothesis("", 0.0)], []), opened)

    def frame(raw: int) -> float:
        return (raw - first) / settings.downsample

    stretches = tuple((frame(s.start), frame(s.end), s.captioned.captions[0].caption) for s in found)
    return dataclasses.replace(made, score=None, segments=stretches)


def _describe(segment: Segment, opened: Run) -> dict[str, Any]:
    """What --json prints of a segment."""
    from m2t_fast.captioning.words import seconds_of

    fps, settings, said = opened.skeleton.fps, opened.settings, segment.captioned
    frames, start = segment.end - segment.start, segment.start / fps
    words = [
        (
            word.word,
            word.gate,
            start + seconds_of(word.mean, settings, fps, frames),
            word.std * settings.downsample / fps,
            word.parts,
        )
        for word in said.words
    ]
    return record(start, segment.end / fps, segment.confidence, said.captions, words, said.trust)


def record(
    start: float,
    end: float,
    score: float,
    captions: Sequence[tuple[str, float]],
    words: Iterable[tuple[str, float, float, float, Any]],
    trust: Trust,
) -> dict[str, Any]:
    """The layout of a segment in JSON; all times in seconds of the take.

    Args:
        captions: (text, score), best first.
        words: (word, gate, mean, std, weights by body part) of the best caption.
    """
    return {
        "start": start,
        "end": end,
        "caption": captions[0][0],
        "score": score,
        "captions": [{"caption": text, "score": value} for text, value in captions],
        "words": [dict(zip(("word", "gate", "mean", "std", "parts"), word, strict=True)) for word in words],
        "trust": trust.to_dict(),
    }
