"""``m2t-fast evaluate``: scores of runs on a split as the paper's tables, and their predictions."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options, scoring
from m2t_fast.errors import UserError

if TYPE_CHECKING:
    from m2t_fast.evaluation.scored_runs import Files, Report


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
    options.add_search(parser, beam_size=1, several=True)
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast import distributed
    from m2t_fast.evaluation.scored_runs import Files, evaluate_run
    from m2t_fast.run_folder import load_run

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
    print(report.printed())
    if joint:
        _write(report, joint)
    else:
        for folder in args.run_folders:
            _write(report.only(folder), Files(folder))
    return 0


def _write(report: Report, files: Files) -> None:
    predictions, *others = report.write(files)
    print(f"predictions in {predictions}; {', '.join(path.name for path in others)} beside them")


def _names(folders: list[Path]) -> list[str]:
    """What the table calls each run: the name of its folder, or the whole path where several have that name."""
    resolved = [folder.resolve() for folder in folders]
    for place, folder in enumerate(resolved):
        if folder in resolved[:place]:
            raise UserError(f"{folders[place]}: this run is there twice, expected each once")
    count = Counter(folder.name for folder in resolved)
    return [full.name if count[full.name] == 1 else str(given) for full, given in zip(resolved, folders, strict=True)]
