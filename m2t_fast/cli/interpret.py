"""``m2t-fast interpret``: the paper's figures for runs on a split, and what their attention finds as one table."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options
from m2t_fast.cli.main import PROGRAM
from m2t_fast.errors import UserError
from m2t_fast.files import resolved

if TYPE_CHECKING:
    from m2t_fast.data.dataset import MotionDataset
    from m2t_fast.interpretation.statistics import WordRecord
    from m2t_fast.run_folder import Run

FIGURES = ("gate_density", "part_histograms", "trajectory", "windows", "maps", "fine_grained")
SAMPLES = 3


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "interpret",
        help="draw and measure the attention of runs on a split",
        description="Draws the paper's figures for a split (PNG, PDF and the data of each) and measures what the "
        "attention finds: when actions happen, with which body parts, and which words need the motion. Several runs, "
        "such as with and without guidance, make one table, and a folder of figures each.",
    )
    options.add_runs(parser)
    options.add_data(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the folder to write")
    options.add_split(parser)
    parser.add_argument(
        "--words",
        choices=("generated", "reference"),
        default="generated",
        help="use captions that the model generates, or have it read the references (%(default)s)",
    )
    parser.add_argument(
        "--figures",
        nargs="+",
        metavar="NAME",
        default=["all"],
        help=f"all, none, or some of {', '.join(FIGURES)} (all)",
    )
    parser.add_argument(
        "--stems", nargs="+", metavar="WORD", default=[], help="words whose stems to show (the most frequent)"
    )
    parser.add_argument(
        "--samples",
        nargs="+",
        metavar="N|ID",
        default=[str(SAMPLES)],
        help=f"motions to draw one by one: ids, or how many, evenly spread ({SAMPLES})",
    )
    parser.add_argument(
        "--width",
        type=options.number(0.0, above=True),
        default=math.sqrt(3.0),
        metavar="K",
        help="the range of a word is the mean of its window +- K standard deviations (the root of 3: if "
        "attention is spread evenly over an action, the range is that action)",
    )
    parser.add_argument(
        "--times",
        choices=("segments", "active"),
        default="segments",
        help="known times of an action: its segment, or the frames in which it is active (%(default)s)",
    )
    options.add_search(parser, beam_size=1)
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.files import new_folder
    from m2t_fast.interpretation import localisation_table
    from m2t_fast.interpretation.attention_map import require_matplotlib
    from m2t_fast.interpretation.samples import choose
    from m2t_fast.run_folder import load_run

    options.refuse_existing(args.output)
    figures = _figures(args.figures)
    if figures:
        require_matplotlib()
    if args.words == "reference" and args.force_gate is not None:
        raise UserError("--force-gate: captions that are read keep the model's own gate; it needs --words generated")
    device = options.device(args.device)
    names = _folder_names(args.run_folders)
    with options.backend(args.backend, device), new_folder(args.output) as folder:
        opened = [load_run(path, device) for path in args.run_folders]
        datasets = options.load_splits(opened, args.data, args.split, args.strict)
        chosen = [choose(dataset, args.samples) for dataset in datasets]
        measured = []
        for own, name, dataset, numbers in zip(opened, names, datasets, chosen, strict=True):
            inner = folder if len(opened) == 1 else folder / name
            found = _interpret(args, own, dataset, numbers, inner, figures)
            measured.append({"run": name, "motions": dataset.motions, **found})
        about = {
            "data": args.data,
            "split": args.split,
            "words": args.words,
            **(options.search_of(args) if args.words == "generated" else dict.fromkeys(options.search_of(args))),
            "width": args.width,
            "times": args.times,
        }
        text = localisation_table.write_report(folder, about, measured)
    print(text)
    if dataset.segments is None:
        print(f"{args.data} holds no times and body parts of actions (segments.json): only the gate is measured")
    print(args.output)
    return 0


def _figures(given: list[str]) -> tuple[str, ...]:
    """The figures that --figures names, in their own order; commas separate as well as spaces."""
    listed = [name for text in given for name in text.split(",") if name]
    for name in listed or [" ".join(given)]:
        if name not in (*FIGURES, "all", "none"):
            raise UserError(f"--figures: unknown figure {name!r}, expected all, none or some of {', '.join(FIGURES)}")
    if "none" in listed and len(listed) > 1:
        raise UserError(f"--figures: got {' '.join(listed)}, expected none alone or names of figures")
    return tuple(name for name in FIGURES if name in listed or "all" in listed)


def _folder_names(runs: list[Path]) -> list[str]:
    """A name for each run, that of its folder; equal ones are numbered."""
    names: list[str] = []
    for path in runs:
        name = wanted = resolved(path).name or "run"
        number = 1
        while name in names:
            number += 1
            name = f"{wanted}-{number}"
        names.append(name)
    return names


def _interpret(
    args: argparse.Namespace,
    opened: Run,
    dataset: MotionDataset,
    chosen: list[int],
    folder: Path,
    figures: tuple[str, ...],
) -> dict[str, Any]:
    """Draw the figures of one run and measure it."""
    from m2t_fast.interpretation import gallery
    from m2t_fast.interpretation.localisation import measure
    from m2t_fast.interpretation.samples import collect_samples

    references = args.words == "reference"
    records = _records(args, opened, dataset)
    if not all(math.isfinite(record.gate + record.mean + record.std) for record in records):
        raise UserError(f"{opened.folder}: the attention of this run is not finite: its weights are damaged")
    stems = [_stem(word) for word in args.stems]
    for word, own in zip(args.stems, stems, strict=True):
        if not any(record.stem == own for record in records):
            print(f"{PROGRAM}: --stems: no caption of {opened.folder} has {word!r}", file=sys.stderr)
    gallery.draw_split(folder, figures, records, stems)
    if set(figures) & set(gallery.SAMPLE_FIGURES):
        for sample in collect_samples(opened, dataset, chosen, references, **options.search_of(args)):
            gallery.draw_sample(folder, figures, sample, args.width)
    timed = {"lambda_temp": weight} if (weight := (opened.training or {}).get("lambda_temp")) else {}
    return {**opened.guidance, **timed, **measure(records, dataset, references, args.width, args.times)}


def _records(args: argparse.Namespace, opened: Run, dataset: MotionDataset) -> list[WordRecord]:
    from m2t_fast.interpretation.statistics import generated_words, reference_words

    size, progress = args.batch_size, True
    if args.words == "reference":
        return reference_words(opened.model, dataset, size, progress)
    search: dict[str, Any] = options.search_of(args)
    return generated_words(opened.model, dataset, opened.vocabulary, size, progress, **search)


def _stem(word: str) -> str:
    from m2t_fast.data.stems import stem

    return stem(word.lower())
