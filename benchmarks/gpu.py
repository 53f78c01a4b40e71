"""Measures sections of the GPU benchmarks within a time budget and saves every number as soon as it is measured.

    python benchmarks/gpu.py --section NAME [--cells key|rest|compiled] [--budget SECONDS] [--ways NAME,...]

Cells are measured in a process that may hang, crash or be poisoned (gpu_cells.py). What is found is merged into
benchmarks/results/DEVICE.json, cell by cell; `python benchmarks/tables.py` makes the document's tables of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import gpu_cells
import gpu_results

NAMES = ("ceilings", "attention", "decoding", "guided")
CELL_LIMIT, COMPILED_LIMIT = 20.0, 80.0
"""Seconds in which a cell must be done; of one that compiles."""
CHOICES = ("key", "rest", "compiled", "all")


def supervise(arguments: argparse.Namespace) -> int:
    """Starts workers until all cells are done or the time is."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.jsonl"
        until = time.time() + arguments.budget
        command = [
            sys.executable,
            "-W",
            "ignore",
            __file__,
            *sys.argv[1:],
            "--journal",
            str(journal),
            "--until",
            str(until),
        ]

        def lost(line: dict, why: str) -> None:
            print(f"{line['name']}: {why}", flush=True)
            where = line.get("cell")
            if where is not None:
                values = {"note": why}
                gpu_results.record(
                    where["device"], where["section"], where["row"], where["way"], values, where["software"]
                )

        # The worker ends by itself at its time; the rest is for a cell that is being measured then.
        finished = gpu_cells.supervise(command, journal, arguments.budget + 5, lost)
    return 0 if finished else 1


def work(arguments: argparse.Namespace) -> int:
    """Measures the cells that nobody has begun yet."""
    import gpu_attention
    import gpu_ceilings
    import gpu_decoding
    import gpu_guided
    import gpu_part

    sections = {
        s.name: s for s in (gpu_ceilings.SECTION, gpu_attention.SECTION, gpu_decoding.SECTION, gpu_guided.SECTION)
    }
    journal = gpu_cells.Journal(Path(arguments.journal))
    device = gpu_part.find()
    software = gpu_part.software()
    gpu_part.warm_up(device.where, 1.0)
    for name in arguments.section or NAMES:
        section = sections[name]
        for cell in section.cells():
            chosen = arguments.cells == "all" or arguments.cells == _kind(cell)
            if not chosen or (arguments.ways and cell.way not in arguments.ways.split(",")):
                continue
            title = f"{name} {cell.name}"

            def record(values: dict, name: str = name, cell: gpu_part.Cell = cell, title: str = title) -> None:
                gpu_results.record(device.name, name, cell.row, cell.way, values, software)
                print(f"{title}: {_short(values)}", flush=True)

            if time.time() > arguments.until:
                if title not in journal.begun():
                    record({"note": "no time left"})
                continue
            limit = COMPILED_LIMIT if cell.compiled else CELL_LIMIT
            place = {"device": device.name, "section": name, "row": cell.row, "way": cell.way, "software": software}
            gpu_cells.attempt(
                journal,
                title,
                f"{name} {cell.way}",
                float(os.environ.get("M2T_FAST_CELL_LIMIT") or limit),
                lambda section=section, cell=cell, record=record: record(section.measure(cell, device)),
                lambda why, record=record: record({"note": why}),
                cell=place,
            )
            gpu_part.release(device.where)
            if gpu_part.failed_captures:
                print("a capture failed: another process goes on", flush=True)
                os._exit(gpu_cells.POISONED)
    return 0


def _kind(cell: object) -> str:
    return "compiled" if cell.compiled else "key" if cell.key else "rest"  # type: ignore[attr-defined]


def _short(values: dict) -> str:
    if "note" in values:
        return str(values["note"])
    return ", ".join(
        f"{name} {value[0]:.3f} ms" if isinstance(value, list) else f"{name} {value:.4g}"
        for name, value in values.items()
        if isinstance(value, list | float | int)
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=240.0, help="seconds after which cells are left out")
    parser.add_argument("--section", action="append", choices=NAMES, help="default: all")
    parser.add_argument("--cells", choices=CHOICES, default="all", help="default: all")
    parser.add_argument("--ways", help="these ways alone, separated by commas")
    parser.add_argument("--journal", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    return supervise(arguments) if arguments.journal is None else work(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
