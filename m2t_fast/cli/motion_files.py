"""The motion files of a command line: their options, reading them, and the notes about them on stderr."""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from m2t_fast.cli import options
from m2t_fast.cli.main import PROGRAM
from m2t_fast.errors import UserError
from m2t_fast.wording import be, counted

if TYPE_CHECKING:
    import numpy as np

    from m2t_fast.captioning.trust import Trust
    from m2t_fast.data.preprocessing import DataSettings
    from m2t_fast.motion import MotionOptions
    from m2t_fast.run_folder import Run
    from m2t_fast.skeleton import Skeleton

UNITS = ("m", "cm", "mm", "in", "ft", "cmu", "kit")
UPS = ("y", "z", "-y", "-z", "x", "-x")
LAYOUTS = ("h36m", "coco", "mediapipe")


@dataclass(frozen=True)
class MotionFile:
    """A motion as the run reads it.

    ``name`` is the path as given, or from the folder that was given; ``joints`` (T, J, 3) float32 at the skeleton's
    frame rate, before downsampling, ``units_per_metre`` units in a metre, Y up; ``label`` tells which motion of the
    file it is, ``notes`` what was assumed about it.
    """

    path: Path
    name: str
    joints: np.ndarray
    units_per_metre: float
    label: str = ""
    notes: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The motion files and the options that describe them."""
    parser.add_argument(
        "motions",
        metavar="MOTION|FOLDER",
        type=Path,
        nargs="*",
        help="motion files, or folders of them: .bvh, .glb, .amc, .c3d; joints, features or keypoints (.npy); SMPL "
        "parameters (.npz, .pt, .pkl); output of motion generators (docs/your-motion.md)",
    )
    group = parser.add_argument_group("what the files are (detected and printed on stderr; docs/your-motion.md)")
    group.add_argument(
        "--fps",
        type=options.number(0.0, 1e5, above=True),
        metavar="N",
        help="frames per second of the files (.npy: 20 for 22 joints, 12.5 for 21; .bvh: its frame time)",
    )
    group.add_argument(
        "--joint-map",
        type=Path,
        metavar="FILE",
        help="JSON {our joint: joint or joints of the files} (--show-joints prints one)",
    )
    group.add_argument(
        "--mean", type=Path, metavar="FILE", help="mean (.npy) that features were normalised with; with --std"
    )
    group.add_argument("--std", type=Path, metavar="FILE", help="see --mean")
    group.add_argument(
        "--units", choices=(*UNITS, "body"), help="unit of positions (from the body's size); body: scaled to usual legs"
    )
    group.add_argument("--up", choices=UPS, help="axis that points up (joints: y; captures: from the body)")
    if hasattr(parser, "_negative_number_matcher"):  # so that "--up -y" is a value, as "-1" is, and no option
        parser._negative_number_matcher = re.compile(r"^-(\d+|\d*\.\d+|[xyz])$")
    group.add_argument("--joints", choices=LAYOUTS, help="layout of keypoints of video (.npy)")
    group.add_argument(
        "--body-model",
        type=Path,
        metavar="FILE",
        help="body model for SMPL parameters: SMPL, SMPL-H or SMPL-X (.npz or .pkl)",
    )
    group.add_argument("--asf", type=Path, metavar="FILE", help="the skeleton of .amc files (the .asf beside them)")
    group.add_argument(
        "--align",
        action="store_true",
        help="place joint files on the floor, at the origin, facing +Z, like training data; captures always are",
    )


def inputs(args: argparse.Namespace) -> list[Path]:
    """Every file that the options name, and the motion files in the folders that they name.

    Raises:
        UserError: a folder has no motion files.
    """
    from m2t_fast.motion import motion_files

    given = (args.joint_map, args.mean, args.std, args.body_model, args.asf)
    named = [path for path in given if path is not None]
    for path in args.motions:
        named += motion_files(path) if path.is_dir() else [path]
    return named


def named(args: argparse.Namespace) -> list[tuple[Path, str]]:
    """The motion files that the options name, with the names they go by: the path as given, or from its folder.

    Raises:
        UserError: a folder has no motion files.
    """
    from m2t_fast.motion import motion_files

    files = []
    for given in args.motions:
        for path in motion_files(given) if given.is_dir() else [given]:
            files.append((path, str(path) if path is given else path.relative_to(given).as_posix()))
    return files


_BRACKETED = re.compile(r"(?<![\w.#])\d[\d,]*(?:\.\d+)?(?![\w.,]*\w)(?=[^()]*\))")
"""A number in brackets: what was measured in one file, "(a body of about 1.75 m)"."""


class Said:
    """What was assumed about files, said once for all files of which the same is true.

    Numbers in brackets may differ: then the line has the least and the most of them, "(a body of about 1.62-1.85 m)".
    """

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._numbers: dict[str, list[list[str]]] = {}

    def add(self, notes: list[str], name: str) -> None:
        """Notes on one motion."""
        joined = "; ".join(notes)
        alike = _BRACKETED.sub("\0", joined)
        self._names.setdefault(alike, []).append(name)
        self._numbers.setdefault(alike, []).append(_BRACKETED.findall(joined))

    def has(self, note: str) -> bool:
        """Whether any notes contain this."""
        return any(note in notes for notes in self._names)

    def report(self) -> None:
        """Prints a line on stderr for all files with the same notes."""
        for notes, names in self._names.items():
            more = len(names) - 1
            files = names[0] + (f" and {counted(more, 'more file')}" if more else "")
            pieces = notes.split("\0")
            spans = [_span(numbers) for numbers in zip(*self._numbers[notes], strict=True)]
            said = "".join(itertools.chain(*itertools.zip_longest(pieces, spans, fillvalue="")))
            print(f"{PROGRAM}: {files}: {said}", file=sys.stderr)


def _span(numbers: Sequence[str]) -> str:
    """The least and the most of written numbers, or the one that all are."""
    ordered = sorted(numbers, key=lambda number: float(number.replace(",", "")))
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]}-{ordered[-1]}"


def require_parameters(args: argparse.Namespace, said: Said) -> None:
    """Raises where a body model was given and no motion that was read holds parameters for it.

    Raises:
        UserError: that.
    """
    if args.body_model is not None and not said.has("SMPL parameters"):
        raise UserError("--body-model: none of the motions holds SMPL parameters (.npz, .pkl, .pt), which it needs")


def read_all(args: argparse.Namespace, opened: Run) -> tuple[list[MotionFile], list[str]]:
    """Reads all motions, in the order given, and prints on stderr what was assumed.

    Returns:
        the motions, and for every file that cannot be read the reason.

    Raises:
        UserError: none of the files can be read, a folder has no motion files, or a mistaken option.
    """
    from m2t_fast.motion import motion_files, read_motions, units_of
    from m2t_fast.motion.kinds import CAPTURES, kind_of, none_readable
    from m2t_fast.motion.read import DENORMALISED
    from m2t_fast.progress import progress

    known = options_of(args, opened.skeleton)
    units = units_of(opened.statistics, opened.skeleton)
    longest = _longest(opened.settings)
    motions: list[MotionFile] = []
    skipped: list[str] = []
    said = Said()
    for given in args.motions:
        before, errors = len(motions), []
        for path in progress(motion_files(given) if given.is_dir() else [given], f"reading {given}", "files"):
            try:
                found = read_motions(path, opened.skeleton, known, units)
            except UserError as error:
                errors.append(str(error))
                continue
            name = str(path) if path is given else path.relative_to(given).as_posix()
            for motion in found:
                notes = list(motion.notes)
                if longest is not None and len(motion.joints) > longest and not getattr(args, "segments", False):
                    notes.append("--segments captions it piece by piece")
                    notes.append(f"longer than any motion the run was trained on ({counted(longest, 'frame')})")
                full, joined = name + motion.label, "; ".join(notes)
                motions.append(MotionFile(path, full, motion.joints, units, motion.label, joined))
                said.add(notes, full)
        if errors and len(motions) == before and given.is_dir():
            errors[0] = f"{given}: {none_readable(errors)}"
        skipped += errors
    if not motions:
        more = f" ({len(skipped) - 1} more cannot be read either)" if len(skipped) > 1 else ""
        raise UserError(skipped[0] + more)
    if args.joint_map is not None and not any(kind_of(motion.path) in CAPTURES for motion in motions):
        raise UserError("--joint-map: none of the motions is a .bvh file, nor any other with named joints")
    if args.mean is not None and not said.has(DENORMALISED):
        raise UserError("--mean and --std: none of the motions is a feature file")
    require_parameters(args, said)
    said.report()
    return motions, skipped


def show_joints(args: argparse.Namespace, skeleton: Skeleton) -> str:
    """The joint map of ``args.show_joints`` as JSON to edit, with what was found on stderr.

    Raises:
        UserError: the file cannot be read, has no named joints, or no body.
    """
    from m2t_fast.motion import read_capture
    from m2t_fast.motion.matching import match_joints

    known = options_of(args, skeleton)
    capture = read_capture(args.show_joints, known)
    match = match_joints(args.show_joints, capture, skeleton, known.joint_map)
    print(f"{PROGRAM}: {args.show_joints}: {match.said}", file=sys.stderr)
    if match.missing:
        print(f"{PROGRAM}: {args.show_joints}: no joint for {', '.join(match.missing)}", file=sys.stderr)
    rows = [f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in match.to_map(capture.names).items()]
    return "{\n" + ",\n".join(rows) + "\n}"


def report_doubts(names: Iterable[str], trusts: Iterable[Trust]) -> None:
    """Says on stderr which captions are not to be trusted, and why."""
    doubts = Said()
    for name, trust in zip(names, trusts, strict=True):
        if not trust:
            doubts.add([*trust.reasons, "its caption is not to be trusted"], name)
    doubts.report()


def report_skipped(skipped: list[str], read: int) -> None:
    """Lists on stderr the files that could not be read."""
    for reason in skipped:
        print(f"{PROGRAM}: left out: {' '.join(reason.split())}", file=sys.stderr)
    if skipped:
        motions = f"{len(skipped):,} of {counted(read + len(skipped), 'motion')}"
        print(f"{PROGRAM}: {motions} {be(len(skipped), past=True)} left out", file=sys.stderr)


def _longest(settings: DataSettings) -> int | None:
    """Frames, before downsampling, of the longest motion that training kept; None where it kept all."""
    limits = [settings.max_frames]
    if settings.max_frames_train is not None:
        limits.append(settings.first_frame + settings.max_frames_train * settings.downsample)
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def options_of(args: argparse.Namespace, skeleton: Skeleton) -> MotionOptions:
    """What the options of :func:`add_arguments` tell about the files.

    Raises:
        UserError: a mistaken option.
    """
    from m2t_fast.motion import MotionOptions, read_joint_map, read_vector
    from m2t_fast.reading import require_regular

    for path in (args.body_model, args.asf):
        if path is not None:
            require_regular(path)  # also where no file needs it
    if (args.mean is None) != (args.std is None):
        raise UserError("--mean and --std: got one of them, expected both")
    mean, std = (None if path is None else read_vector(path, skeleton) for path in (args.mean, args.std))
    if std is not None and (std < 0).any():
        raise UserError(f"{args.std}: negative standard deviations (are --mean and --std swapped?)")
    return MotionOptions(
        fps=args.fps,
        joint_map=None if args.joint_map is None else read_joint_map(args.joint_map, skeleton),
        mean=mean,
        std=std,
        unit=args.units,
        up=args.up,
        align=args.align,
        layout=args.joints,
        body_model=args.body_model,
        asf=args.asf,
    )
