"""``m2t-fast evaluate``: scores of runs on a split as the paper's tables, and their predictions."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from m2t_fast.cli import options, scoring
from m2t_fast.errors import UserError
from m2t_fast.files import resolved
from m2t_fast.wording import counted


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score runs on a split",
        description="Captions a split with one or several runs, prints the paper's scores against all references, and "
        "writes them (scores.json, scores.md, scores.tex) and the captions (predictions.jsonl).",
    )
    options.add_runs(parser)
    options.add_data(parser)
    options.add_split(parser)
    scoring.add_arguments(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR|NAME.jsonl",
        help="where the files go: a folder, or the predictions' own file, beside which the others are NAME.scores.json "
        "and so on (without it each run's files go to its own folder; a table of several runs is then printed only)",
    )
    parser.add_argument(
        "--segments",
        action="store_true",
        help="score how caption --segments cuts long takes, joined from clips of the split, beside windows of a fixed "
        "length and changes of speed (docs/long-takes.md)",
    )
    parser.add_argument(
        "--takes",
        type=options.whole_number(1, 10_000),
        default=100,
        metavar="N",
        help="with --segments: how many takes, of 3 to 6 clips (%(default)s)",
    )
    options.add_search(parser, beam_size=1, several=True)
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast import distributed
    from m2t_fast.evaluation.scored_runs import Files, evaluate_run
    from m2t_fast.run_folder import load_run

    if args.segments:
        return _segments(args)
    names = _names(args.run_folders)
    processes = distributed.launched()
    device = options.device(args.device, processes)
    with distributed.job(processes, device), options.backend(args.backend, device):
        runs = [load_run(folder, device) for folder in args.run_folders]
        joint = None if args.output is None else Files.of(args.output)
        for files in [joint] if joint else [Files(folder) for folder in args.run_folders]:
            for path in files.all():
                options.require_writable(path)
        datasets = processes.machine_by_machine(lambda: options.load_splits(runs, args.data, args.split, args.strict))
        scorers = scoring.Scorers.of(args, runs[0].skeleton, device)
        search = options.search_of(args)
        beam_sizes, force_gate = search.pop("beam_size"), search.pop("force_gate")
        results = [
            result
            for opened, dataset, name in zip(runs, datasets, names, strict=True)
            for result in evaluate_run(
                opened,
                dataset,
                beam_sizes=beam_sizes,
                force_gate=force_gate,
                name=name,
                batch_size=args.batch_size,
                progress=processes.main,
                processes=processes,
                **scorers.arguments,
                **search,
            )
        ]
    if not processes.main:  # all have the captions of all; one tells
        return 0
    report = scorers.report(args, search, results)
    parts = [(report, joint)] if joint else [(report.only(folder), Files(folder)) for folder in args.run_folders]
    written = [scoring.write(*part) for part in parts]  # before anything is printed: nobody may be reading it
    print(report.printed(), *written, sep="\n")
    return 0


def _segments(args: argparse.Namespace) -> int:
    """Scores of --segments, a table per run, and segments.json in its folder or in --output."""
    from m2t_fast.data.takes import load_clips, make_takes
    from m2t_fast.evaluation.segment_table import printed, segment_rows
    from m2t_fast.files import atomic_path
    from m2t_fast.run_folder import load_run

    if args.text != "raw" or args.bert_model is not None or len(args.beam_size) > 1:
        raise UserError("--segments: does not go with --text processed, --bert-model or several beam sizes")
    if args.output is not None and len(args.run_folders) > 1:
        raise UserError("--output: with --segments expected one run")
    device = options.device(args.device)
    with options.backend(args.backend, device):
        runs = [load_run(folder, device) for folder in args.run_folders]
        files = [(args.output or folder) / "segments.json" for folder in args.run_folders]
        for file in files:
            if args.output is not None and not args.output.is_dir():
                raise UserError(f"--output {args.output}: no such folder")
            options.require_writable(file)
        search = {**options.search_of(args), "beam_size": args.beam_size[0]}
        for opened, file in zip(runs, files, strict=True):
            try:
                takes = make_takes(
                    load_clips(args.data, args.split, opened.skeleton), opened.skeleton, args.takes, seed=2
                )
            except ValueError as error:
                raise UserError(f"{args.data}: the {args.split} split cannot be joined to takes: {error}") from None
            rows = segment_rows(opened, takes, args.batch_size, sys.stderr.isatty(), **search)
            joined = f"of {args.data} {args.split}, joined over half a second each side"
            protocol = f"{counted(len(takes), 'take')} of 3 to 6 clips {joined}"
            with atomic_path(file) as temporary:
                content = {"data": str(args.data), "split": args.split, "protocol": protocol}
                rows_listed = [row.to_dict() for row in rows]
                temporary.write_text(json.dumps({**content, "rows": rows_listed}, indent=2) + "\n", encoding="utf-8")
            print(f"{opened.folder}: {protocol}\n{printed(rows)}\nscores in {file}", flush=True)
    return 0


def _names(folders: list[Path]) -> list[str]:
    """What the table calls each run: the name of its folder, or the whole path where several have that name."""
    whole = [resolved(folder) for folder in folders]
    for place, folder in enumerate(whole):
        if folder in whole[:place]:
            raise UserError(f"{folders[place]}: this run appears twice, expected each once")
    count = Counter(folder.name for folder in whole)
    return [full.name if count[full.name] == 1 else str(given) for full, given in zip(whole, folders, strict=True)]
