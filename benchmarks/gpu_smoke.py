"""One short look at every op, backend and dtype on a GPU against float64, before anything else is trusted.

    python benchmarks/gpu_smoke.py [--budget SECONDS] [--out FILE] [GROUP ...]

A group is a process of its own, several at a time. A row that hangs, crashes or poisons its process costs that row, and
the group goes on behind it. One line is printed for each group, and the rows that failed; FILE gets a line of JSON for
each row: {"group", "name", "ok", "error" (relative, against float64), "limit", "seconds", "why"}. Exit code 1 if one
failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import gpu_cells
import gpu_smoke_groups

ROW_LIMIT = 30.0
"""Seconds of a row; the first of a group compiles."""
AT_A_TIME = 8


def work(arguments: argparse.Namespace) -> int:
    """The rows of one group that nobody has begun yet."""
    import gpu_part

    device = gpu_part.find()
    group = arguments.groups[0]
    journal = gpu_cells.Journal(Path(arguments.journal))
    limit = float(os.environ.get("M2T_FAST_CELL_LIMIT") or ROW_LIMIT)
    for row in gpu_smoke_groups.rows(group, device.where):
        started = time.monotonic()

        def say(row: Any = row, started: float = started, **found: Any) -> None:
            line = {"group": group, "name": row.name, "ok": False, **found}
            line["seconds"] = round(time.monotonic() - started, 2)
            with Path(arguments.out).open("a") as file:
                file.write(json.dumps(line) + "\n")

        def measure(row: Any = row, say: Any = say) -> None:
            error, allowed = row.check()
            gpu_part.synchronize(device.where)
            say(ok=error <= allowed, error=error, limit=allowed)

        gpu_cells.attempt(journal, f"{group} {row.name}", group, limit, measure, lambda why, say=say: say(why=why))
    return 0


def supervise(arguments: argparse.Namespace) -> int:
    """All groups, several at a time."""
    until = time.monotonic() + arguments.budget
    named = os.environ.get("M2T_FAST_SMOKE_GROUPS")  # the rehearsal's short form
    groups = arguments.groups or (named.split(",") if named else list(gpu_smoke_groups.GROUPS))
    out = Path(arguments.out) if arguments.out else None
    bad = False
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(min(AT_A_TIME, os.cpu_count() or 1)) as pool:
        folder = Path(name)
        jobs = {pool.submit(_one, group, folder, until): group for group in groups}
        for job in as_completed(jobs):
            group, rows, finished, seconds = job.result()
            wrong = [row for row in rows if not row["ok"]]
            bad |= bool(wrong) or not finished
            ending = "" if finished else ", did not come to its end"
            print(f"{group:26} {len(rows) - len(wrong)} ok, {len(wrong)} wrong, {seconds:.0f} s{ending}", flush=True)
            for row in wrong[:6]:
                why = row.get("why") or f"error {row['error']:.2e}, allowed {row['limit']:.0e}"
                print(f"    {row['name']}: {why}", flush=True)
            if not finished and not wrong:
                print(
                    "    " + "\n    ".join((folder / f"{_file(group)}.log").read_text().splitlines()[-5:]), flush=True
                )
            if out is not None:
                with out.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
                    file.write(json.dumps({"group": group, "finished": finished, "seconds": round(seconds, 1)}) + "\n")
    return int(bad)


def _file(group: str) -> str:
    return group.replace(":", "-")


def _one(group: str, folder: Path, until: float) -> tuple[str, list[dict[str, Any]], bool, float]:
    """Group, its rows, whether it came to its end, seconds."""
    started = time.monotonic()
    rows, journal = folder / f"{_file(group)}.rows", folder / f"{_file(group)}.journal"
    rows.touch()
    words = ["--journal", str(journal), "--out", str(rows), group]
    lost: list[dict[str, Any]] = []

    def note(line: dict[str, Any], why: str) -> None:
        lost.append({"group": group, "name": line["name"].removeprefix(f"{group} "), "ok": False, "why": why})

    finished = gpu_cells.supervise(
        [sys.executable, "-W", "ignore", __file__, *words],
        journal,
        max(until - started, 0.1),
        note,
        log=folder / f"{_file(group)}.log",
    )
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    return group, lines + lost, finished, time.monotonic() - started


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"default: {' '.join(gpu_smoke_groups.GROUPS)}")
    parser.add_argument("--budget", type=float, default=70.0, help="seconds for all groups")
    parser.add_argument("--out", help="file for a line of JSON for each row")
    parser.add_argument("--journal", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := [group for group in arguments.groups if group not in gpu_smoke_groups.GROUPS]:
        parser.error(f"got group {unknown[0]!r}, expected some of {', '.join(gpu_smoke_groups.GROUPS)}")
    return work(arguments) if arguments.journal is not None else supervise(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
